/*
 * Three sockets of eight cores with two threads each, 48 processors, and a node that is memory only.
 * APIC id = socket << 7 | core << 1 | thread: the ids of socket 2 start at 256, beyond what a Local APIC entry can name,
 * so its processors have x2APIC entries. First threads of all cores first, then the second threads.
 */
[0004]                            Signature : "APIC" [Multiple APIC Description Table (MADT)]
[0004]                         Table Length : 00000000
[0001]                             Revision : 05
[0001]                             Checksum : 00
[0006]                               Oem ID : "XKSIM "
[0008]                         Oem Table ID : "SRV4N   "
[0004]                         Oem Revision : 00000001
[0004]                      Asl Compiler ID : "INTL"
[0004]                Asl Compiler Revision : 20200925

[0004]                   Local Apic Address : FEE00000
[0004]                Flags (decoded below) : 00000001
                        PC-AT Compatibility : 1

/* CPU 0: socket 0, core 0, thread 0 */
[0001]                        Subtable Type : 00 [Processor Local APIC]
[0001]                               Length : 08
[0001]                         Processor ID : 00
[0001]                        Local Apic ID : 00
[0004]                Flags (decoded below) : 00000001
                          Processor Enabled : 1
                     Runtime Online Capable : 0

/* CPU 1: socket 0, core 1, thread 0 */
[0001]                        Subtable Type : 00 [Processor Local APIC]
[0001]                               Length : 08
[0001]                         Processor ID : 01
[0001]                        Local Apic ID : 02
[0004]                Flags (decoded below) : 00000001
                          Processor Enabled : 1
                     Runtime Online Capable : 0

/* CPU 2: socket 0, core 2, thread 0 */
[0001]                        Subtable Type : 00 [Processor Local APIC]
[0001]                               Length : 08
[0001]                         Processor ID : 02
[0001]                        Local Apic ID : 04
[0004]                Flags (decoded below) : 00000001
                          Processor Enabled : 1
                     Runtime Online Capable : 0

/* CPU 3: socket 0, core 3, thread 0 */
[0001]                        Subtable Type : 00 [Processor Local APIC]
[0001]                               Length : 08
[0001]                         Processor ID : 03
[0001]                        Local Apic ID : 06
[0004]                Flags (decoded below) : 00000001
                          Processor Enabled : 1
                     Runtime Online Capable : 0

/* CPU 4: socket 0, core 4, thread 0 */
[0001]                        Subtable Type : 00 [Processor Local APIC]
[0001]                               Length : 08
[0001]                         Processor ID : 04
[0001]                        Local Apic ID : 08
[0004]                Flags (decoded below) : 00000001
                          Processor Enabled : 1
                     Runtime Online Capable : 0

/* CPU 5: socket 0, core 5, thread 0 */
[0001]                        Subtable Type : 00 [Processor Local APIC]
[0001]                               Length : 08
[0001]                         Processor ID : 05
[0001]                        Local Apic ID : 0A
[0004]                Flags (decoded below) : 00000001
                          Processor Enabled : 1
                     Runtime Online Capable : 0

/* CPU 6: socket 0, core 6, thread 0 */
[0001]                        Subtable Type : 00 [Processor Local APIC]
[0001]                               Length : 08
[0001]                         Processor ID : 06
[0001]                        Local Apic ID : 0C
[0004]                Flags (decoded below) : 00000001
                          Processor Enabled : 1
                     Runtime Online Capable : 0

/* CPU 7: socket 0, core 7, thread 0 */
[0001]                        Subtable Type : 00 [Processor Local APIC]
[0001]                               Length : 08
[0001]                         Processor ID : 07
[0001]                        Local Apic ID : 0E
[0004]                Flags (decoded below) : 00000001
                          Processor Enabled : 1
                     Runtime Online Capable : 0

/* CPU 8: socket 1, core 0, thread 0 */
[0001]                        Subtable Type : 00 [Processor Local APIC]
[0001]                               Length : 08
[0001]                         Processor ID : 08
[0001]                        Local Apic ID : 80
[0004]                Flags (decoded below) : 00000001
                          Processor Enabled : 1
                     Runtime Online Capable : 0

/* CPU 9: socket 1, core 1, thread 0 */
[0001]                        Subtable Type : 00 [Processor Local APIC]
[0001]                               Length : 08
[0001]                         Processor ID : 09
[0001]                        Local Apic ID : 82
[0004]                Flags (decoded below) : 00000001
                          Processor Enabled : 1
                     Runtime Online Capable : 0

/* CPU 10: socket 1, core 2, thread 0 */
[0001]                        Subtable Type : 00 [Processor Local APIC]
[0001]                               Length : 08
[0001]                         Processor ID : 0A
[0001]                        Local Apic ID : 84
[0004]                Flags (decoded below) : 00000001
                          Processor Enabled : 1
                     Runtime Online Capable : 0

/* CPU 11: socket 1, core 3, thread 0 */
[0001]                        Subtable Type : 00 [Processor Local APIC]
[0001]                               Length : 08
[0001]                         Processor ID : 0B
[0001]                        Local Apic ID : 86
[0004]                Flags (decoded below) : 00000001
                          Processor Enabled : 1
                     Runtime Online Capable : 0

/* CPU 12: socket 1, core 4, thread 0 */
[0001]                        Subtable Type : 00 [Processor Local APIC]
[0001]                               Length : 08
[0001]                         Processor ID : 0C
[0001]                        Local Apic ID : 88
[0004]                Flags (decoded below) : 00000001
                          Processor Enabled : 1
                     Runtime Online Capable : 0

/* CPU 13: socket 1, core 5, thread 0 */
[0001]                        Subtable Type : 00 [Processor Local APIC]
[0001]                               Length : 08
[0001]                         Processor ID : 0D
[0001]                        Local Apic ID : 8A
[0004]                Flags (decoded below) : 00000001
                          Processor Enabled : 1
                     Runtime Online Capable : 0

/* CPU 14: socket 1, core 6, thread 0 */
[0001]                        Subtable Type : 00 [Processor Local APIC]
[0001]                               Length : 08
[0001]                         Processor ID : 0E
[0001]                        Local Apic ID : 8C
[0004]                Flags (decoded below) : 00000001
                          Processor Enabled : 1
                     Runtime Online Capable : 0

/* CPU 15: socket 1, core 7, thread 0 */
[0001]                        Subtable Type : 00 [Processor Local APIC]
[0001]                               Length : 08
[0001]                         Processor ID : 0F
[0001]                        Local Apic ID : 8E
[0004]                Flags (decoded below) : 00000001
                          Processor Enabled : 1
                     Runtime Online Capable : 0

/* CPU 16: socket 2, core 0, thread 0 */
[0001]                        Subtable Type : 09 [Processor Local x2APIC]
[0001]                               Length : 10
[0002]                             Reserved : 0000
[0004]                  Processor x2Apic ID : 00000100
[0004]                Flags (decoded below) : 00000001
                          Processor Enabled : 1
[0004]                        Processor UID : 00000010

/* CPU 17: socket 2, core 1, thread 0 */
[0001]                        Subtable Type : 09 [Processor Local x2APIC]
[0001]                               Length : 10
[0002]                             Reserved : 0000
[0004]                  Processor x2Apic ID : 00000102
[0004]                Flags (decoded below) : 00000001
                          Processor Enabled : 1
[0004]                        Processor UID : 00000011

/* CPU 18: socket 2, core 2, thread 0 */
[0001]                        Subtable Type : 09 [Processor Local x2APIC]
[0001]                               Length : 10
[0002]                             Reserved : 0000
[0004]                  Processor x2Apic ID : 00000104
[0004]                Flags (decoded below) : 00000001
                          Processor Enabled : 1
[0004]                        Processor UID : 00000012

/* CPU 19: socket 2, core 3, thread 0 */
[0001]                        Subtable Type : 09 [Processor Local x2APIC]
[0001]                               Length : 10
[0002]                             Reserved : 0000
[0004]                  Processor x2Apic ID : 00000106
[0004]                Flags (decoded below) : 00000001
                          Processor Enabled : 1
[0004]                        Processor UID : 00000013

/* CPU 20: socket 2, core 4, thread 0 */
[0001]                        Subtable Type : 09 [Processor Local x2APIC]
[0001]                               Length : 10
[0002]                             Reserved : 0000
[0004]                  Processor x2Apic ID : 00000108
[0004]                Flags (decoded below) : 00000001
                          Processor Enabled : 1
[0004]                        Processor UID : 00000014

/* CPU 21: socket 2, core 5, thread 0 */
[0001]                        Subtable Type : 09 [Processor Local x2APIC]
[0001]                               Length : 10
[0002]                             Reserved : 0000
[0004]                  Processor x2Apic ID : 0000010A
[0004]                Flags (decoded below) : 00000001
                          Processor Enabled : 1
[0004]                        Processor UID : 00000015

/* CPU 22: socket 2, core 6, thread 0 */
[0001]                        Subtable Type : 09 [Processor Local x2APIC]
[0001]                               Length : 10
[0002]                             Reserved : 0000
[0004]                  Processor x2Apic ID : 0000010C
[0004]                Flags (decoded below) : 00000001
                          Processor Enabled : 1
[0004]                        Processor UID : 00000016

/* CPU 23: socket 2, core 7, thread 0 */
[0001]                        Subtable Type : 09 [Processor Local x2APIC]
[0001]                               Length : 10
[0002]                             Reserved : 0000
[0004]                  Processor x2Apic ID : 0000010E
[0004]                Flags (decoded below) : 00000001
                          Processor Enabled : 1
[0004]                        Processor UID : 00000017

/* CPU 24: socket 0, core 0, thread 1 */
[0001]                        Subtable Type : 00 [Processor Local APIC]
[0001]                               Length : 08
[0001]                         Processor ID : 18
[0001]                        Local Apic ID : 01
[0004]                Flags (decoded below) : 00000001
                          Processor Enabled : 1
                     Runtime Online Capable : 0

/* CPU 25: socket 0, core 1, thread 1 */
[0001]                        Subtable Type : 00 [Processor Local APIC]
[0001]                               Length : 08
[0001]                         Processor ID : 19
[0001]                        Local Apic ID : 03
[0004]                Flags (decoded below) : 00000001
                          Processor Enabled : 1
                     Runtime Online Capable : 0

/* CPU 26: socket 0, core 2, thread 1 */
[0001]                        Subtable Type : 00 [Processor Local APIC]
[0001]                               Length : 08
[0001]                         Processor ID : 1A
[0001]                        Local Apic ID : 05
[0004]                Flags (decoded below) : 00000001
                          Processor Enabled : 1
                     Runtime Online Capable : 0

/* CPU 27: socket 0, core 3, thread 1 */
[0001]                        Subtable Type : 00 [Processor Local APIC]
[0001]                               Length : 08
[0001]                         Processor ID : 1B
[0001]                        Local Apic ID : 07
[0004]                Flags (decoded below) : 00000001
                          Processor Enabled : 1
                     Runtime Online Capable : 0

/* CPU 28: socket 0, core 4, thread 1 */
[0001]                        Subtable Type : 00 [Processor Local APIC]
[0001]                               Length : 08
[0001]                         Processor ID : 1C
[0001]                        Local Apic ID : 09
[0004]                Flags (decoded below) : 00000001
                          Processor Enabled : 1
                     Runtime Online Capable : 0

/* CPU 29: socket 0, core 5, thread 1 */
[0001]                        Subtable Type : 00 [Processor Local APIC]
[0001]                               Length : 08
[0001]                         Processor ID : 1D
[0001]                        Local Apic ID : 0B
[0004]                Flags (decoded below) : 00000001
                          Processor Enabled : 1
                     Runtime Online Capable : 0

/* CPU 30: socket 0, core 6, thread 1 */
[0001]                        Subtable Type : 00 [Processor Local APIC]
[0001]                               Length : 08
[0001]                         Processor ID : 1E
[0001]                        Local Apic ID : 0D
[0004]                Flags (decoded below) : 00000001
                          Processor Enabled : 1
                     Runtime Online Capable : 0

/* CPU 31: socket 0, core 7, thread 1 */
[0001]                        Subtable Type : 00 [Processor Local APIC]
[0001]                               Length : 08
[0001]                         Processor ID : 1F
[0001]                        Local Apic ID : 0F
[0004]                Flags (decoded below) : 00000001
                          Processor Enabled : 1
                     Runtime Online Capable : 0

/* CPU 32: socket 1, core 0, thread 1 */
[0001]                        Subtable Type : 00 [Processor Local APIC]
[0001]                               Length : 08
[0001]                         Processor ID : 20
[0001]                        Local Apic ID : 81
[0004]                Flags (decoded below) : 00000001
                          Processor Enabled : 1
                     Runtime Online Capable : 0

/* CPU 33: socket 1, core 1, thread 1 */
[0001]                        Subtable Type : 00 [Processor Local APIC]
[0001]                               Length : 08
[0001]                         Processor ID : 21
[0001]                        Local Apic ID : 83
[0004]                Flags (decoded below) : 00000001
                          Processor Enabled : 1
                     Runtime Online Capable : 0

/* CPU 34: socket 1, core 2, thread 1 */
[0001]                        Subtable Type : 00 [Processor Local APIC]
[0001]                               Length : 08
[0001]                         Processor ID : 22
[0001]                        Local Apic ID : 85
[0004]                Flags (decoded below) : 00000001
                          Processor Enabled : 1
                     Runtime Online Capable : 0

/* CPU 35: socket 1, core 3, thread 1 */
[0001]                        Subtable Type : 00 [Processor Local APIC]
[0001]                               Length : 08
[0001]                         Processor ID : 23
[0001]                        Local Apic ID : 87
[0004]                Flags (decoded below) : 00000001
                          Processor Enabled : 1
                     Runtime Online Capable : 0

/* CPU 36: socket 1, core 4, thread 1 */
[0001]                        Subtable Type : 00 [Processor Local APIC]
[0001]                               Length : 08
[0001]                         Processor ID : 24
[0001]                        Local Apic ID : 89
[0004]                Flags (decoded below) : 00000001
                          Processor Enabled : 1
                     Runtime Online Capable : 0

/* CPU 37: socket 1, core 5, thread 1 */
[0001]                        Subtable Type : 00 [Processor Local APIC]
[0001]                               Length : 08
[0001]                         Processor ID : 25
[0001]                        Local Apic ID : 8B
[0004]                Flags (decoded below) : 00000001
                          Processor Enabled : 1
                     Runtime Online Capable : 0

/* CPU 38: socket 1, core 6, thread 1 */
[0001]                        Subtable Type : 00 [Processor Local APIC]
[0001]                               Length : 08
[0001]                         Processor ID : 26
[0001]                        Local Apic ID : 8D
[0004]                Flags (decoded below) : 00000001
                          Processor Enabled : 1
                     Runtime Online Capable : 0

/* CPU 39: socket 1, core 7, thread 1 */
[0001]                        Subtable Type : 00 [Processor Local APIC]
[0001]                               Length : 08
[0001]                         Processor ID : 27
[0001]                        Local Apic ID : 8F
[0004]                Flags (decoded below) : 00000001
                          Processor Enabled : 1
                     Runtime Online Capable : 0

/* CPU 40: socket 2, core 0, thread 1 */
[0001]                        Subtable Type : 09 [Processor Local x2APIC]
[0001]                               Length : 10
[0002]                             Reserved : 0000
[0004]                  Processor x2Apic ID : 00000101
[0004]                Flags (decoded below) : 00000001
                          Processor Enabled : 1
[0004]                        Processor UID : 00000028

/* CPU 41: socket 2, core 1, thread 1 */
[0001]                        Subtable Type : 09 [Processor Local x2APIC]
[0001]                               Length : 10
[0002]                             Reserved : 0000
[0004]                  Processor x2Apic ID : 00000103
[0004]                Flags (decoded below) : 00000001
                          Processor Enabled : 1
[0004]                        Processor UID : 00000029

/* CPU 42: socket 2, core 2, thread 1 */
[0001]                        Subtable Type : 09 [Processor Local x2APIC]
[0001]                               Length : 10
[0002]                             Reserved : 0000
[0004]                  Processor x2Apic ID : 00000105
[0004]                Flags (decoded below) : 00000001
                          Processor Enabled : 1
[0004]                        Processor UID : 0000002A

/* CPU 43: socket 2, core 3, thread 1 */
[0001]                        Subtable Type : 09 [Processor Local x2APIC]
[0001]                               Length : 10
[0002]                             Reserved : 0000
[0004]                  Processor x2Apic ID : 00000107
[0004]                Flags (decoded below) : 00000001
                          Processor Enabled : 1
[0004]                        Processor UID : 0000002B

/* CPU 44: socket 2, core 4, thread 1 */
[0001]                        Subtable Type : 09 [Processor Local x2APIC]
[0001]                               Length : 10
[0002]                             Reserved : 0000
[0004]                  Processor x2Apic ID : 00000109
[0004]                Flags (decoded below) : 00000001
                          Processor Enabled : 1
[0004]                        Processor UID : 0000002C

/* CPU 45: socket 2, core 5, thread 1 */
[0001]                        Subtable Type : 09 [Processor Local x2APIC]
[0001]                               Length : 10
[0002]                             Reserved : 0000
[0004]                  Processor x2Apic ID : 0000010B
[0004]                Flags (decoded below) : 00000001
                          Processor Enabled : 1
[0004]                        Processor UID : 0000002D

/* CPU 46: socket 2, core 6, thread 1 */
[0001]                        Subtable Type : 09 [Processor Local x2APIC]
[0001]                               Length : 10
[0002]                             Reserved : 0000
[0004]                  Processor x2Apic ID : 0000010D
[0004]                Flags (decoded below) : 00000001
                          Processor Enabled : 1
[0004]                        Processor UID : 0000002E

/* CPU 47: socket 2, core 7, thread 1 */
[0001]                        Subtable Type : 09 [Processor Local x2APIC]
[0001]                               Length : 10
[0002]                             Reserved : 0000
[0004]                  Processor x2Apic ID : 0000010F
[0004]                Flags (decoded below) : 00000001
                          Processor Enabled : 1
[0004]                        Processor UID : 0000002F

/* Socket 0, interrupts 0-119 */
[0001]                        Subtable Type : 01 [I/O APIC]
[0001]                               Length : 0C
[0001]                          I/O Apic ID : 08
[0001]                             Reserved : 00
[0004]                              Address : FEC00000
[0004]                            Interrupt : 00000000

/* Socket 1, interrupts 120-239 */
[0001]                        Subtable Type : 01 [I/O APIC]
[0001]                               Length : 0C
[0001]                          I/O Apic ID : 09
[0001]                             Reserved : 00
[0004]                              Address : FEC10000
[0004]                            Interrupt : 00000078

/* Socket 2, interrupts 240-359 */
[0001]                        Subtable Type : 01 [I/O APIC]
[0001]                               Length : 0C
[0001]                          I/O Apic ID : 0A
[0001]                             Reserved : 00
[0004]                              Address : FEC20000
[0004]                            Interrupt : 000000F0

/* The PIT's ISA interrupt 0 arrives on input 2, as on every PC. */
[0001]                        Subtable Type : 02 [Interrupt Source Override]
[0001]                               Length : 0A
[0001]                                  Bus : 00
[0001]                               Source : 00
[0004]                            Interrupt : 00000002
[0002]                Flags (decoded below) : 0000
                                   Polarity : 0
                               Trigger Mode : 0

/* The SCI on ISA 9: active high, level triggered. */
[0001]                        Subtable Type : 02 [Interrupt Source Override]
[0001]                               Length : 0A
[0001]                                  Bus : 00
[0001]                               Source : 09
[0004]                            Interrupt : 00000009
[0002]                Flags (decoded below) : 000D
                                   Polarity : 1
                               Trigger Mode : 3

/* LINT1 of every processor is NMI, active high, edge triggered. */
[0001]                        Subtable Type : 04 [Local APIC NMI]
[0001]                               Length : 06
[0001]                         Processor ID : FF
[0002]                Flags (decoded below) : 0005
                                   Polarity : 1
                               Trigger Mode : 1
[0001]                 Interrupt Input LINT : 01

/* The same for the processors that only the x2APIC entries name. */
[0001]                        Subtable Type : 0A [Local x2APIC NMI]
[0001]                               Length : 0C
[0002]                Flags (decoded below) : 0005
                                   Polarity : 1
                               Trigger Mode : 1
[0004]                        Processor UID : FFFFFFFF
[0001]                 Interrupt Input LINT : 01
[0003]                             Reserved : 000000
