/*
 * The sockets stand in a row, 0 - 1 - 2, and the expander hangs on socket 1. In decimal:
 *   10 16 22 34
 *   16 10 16 24
 *   22 16 10 34
 *   34 24 34 10
 */
[0004]                            Signature : "SLIT" [System Locality Information Table]
[0004]                         Table Length : 00000000
[0001]                             Revision : 01
[0001]                             Checksum : 00
[0006]                               Oem ID : "XKSIM "
[0008]                         Oem Table ID : "SRV4N   "
[0004]                         Oem Revision : 00000001
[0004]                      Asl Compiler ID : "INTL"
[0004]                Asl Compiler Revision : 20200925

[0008]                           Localities : 0000000000000004
[0004]                           Locality 0 : 0A 10 16 22
[0004]                           Locality 1 : 10 0A 10 18
[0004]                           Locality 2 : 16 10 0A 22
[0004]                           Locality 3 : 22 18 22 0A
