/*
 * Two-socket server: 10 at home, 21 across the link (0A and 15 in hexadecimal).
 */
[0004]                            Signature : "SLIT" [System Locality Information Table]
[0004]                         Table Length : 00000000
[0001]                             Revision : 01
[0001]                             Checksum : 00
[0006]                               Oem ID : "XKSIM "
[0008]                         Oem Table ID : "SRV2S   "
[0004]                         Oem Revision : 00000001
[0004]                      Asl Compiler ID : "INTL"
[0004]                Asl Compiler Revision : 20200925

[0008]                           Localities : 0000000000000002
[0002]                           Locality 0 : 0A 15
[0002]                           Locality 1 : 15 0A
