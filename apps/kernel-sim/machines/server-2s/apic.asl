/*
 * Two-socket server: per socket four cores with two threads each, sixteen processors.
 * In the order that firmware is advised to use: first threads of all cores first, socket by socket, then the second threads.
 * So Linux numbers the processors 0-3,8-11 on socket 0 and 4-7,12-15 on socket 1.
 * APIC id = socket << 4 | core << 1 | thread.
 */
[0004]                            Signature : "APIC" [Multiple APIC Description Table (MADT)]
[0004]                         Table Length : 00000000
[0001]                             Revision : 04
[0001]                             Checksum : 00
[0006]                               Oem ID : "XKSIM "
[0008]                         Oem Table ID : "SRV2S   "
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

/* CPU 4: socket 1, core 0, thread 0 */
[0001]                        Subtable Type : 00 [Processor Local APIC]
[0001]                               Length : 08
[0001]                         Processor ID : 04
[0001]                        Local Apic ID : 10
[0004]                Flags (decoded below) : 00000001
                          Processor Enabled : 1
                     Runtime Online Capable : 0

/* CPU 5: socket 1, core 1, thread 0 */
[0001]                        Subtable Type : 00 [Processor Local APIC]
[0001]                               Length : 08
[0001]                         Processor ID : 05
[0001]                        Local Apic ID : 12
[0004]                Flags (decoded below) : 00000001
                          Processor Enabled : 1
                     Runtime Online Capable : 0

/* CPU 6: socket 1, core 2, thread 0 */
[0001]                        Subtable Type : 00 [Processor Local APIC]
[0001]                               Length : 08
[0001]                         Processor ID : 06
[0001]                        Local Apic ID : 14
[0004]                Flags (decoded below) : 00000001
                          Processor Enabled : 1
                     Runtime Online Capable : 0

/* CPU 7: socket 1, core 3, thread 0 */
[0001]                        Subtable Type : 00 [Processor Local APIC]
[0001]                               Length : 08
[0001]                         Processor ID : 07
[0001]                        Local Apic ID : 16
[0004]                Flags (decoded below) : 00000001
                          Processor Enabled : 1
                     Runtime Online Capable : 0

/* CPU 8: socket 0, core 0, thread 1 */
[0001]                        Subtable Type : 00 [Processor Local APIC]
[0001]                               Length : 08
[0001]                         Processor ID : 08
[0001]                        Local Apic ID : 01
[0004]                Flags (decoded below) : 00000001
                          Processor Enabled : 1
                     Runtime Online Capable : 0

/* CPU 9: socket 0, core 1, thread 1 */
[0001]                        Subtable Type : 00 [Processor Local APIC]
[0001]                               Length : 08
[0001]                         Processor ID : 09
[0001]                        Local Apic ID : 03
[0004]                Flags (decoded below) : 00000001
                          Processor Enabled : 1
                     Runtime Online Capable : 0

/* CPU 10: socket 0, core 2, thread 1 */
[0001]                        Subtable Type : 00 [Processor Local APIC]
[0001]                               Length : 08
[0001]                         Processor ID : 0A
[0001]                        Local Apic ID : 05
[0004]                Flags (decoded below) : 00000001
                          Processor Enabled : 1
                     Runtime Online Capable : 0

/* CPU 11: socket 0, core 3, thread 1 */
[0001]                        Subtable Type : 00 [Processor Local APIC]
[0001]                               Length : 08
[0001]                         Processor ID : 0B
[0001]                        Local Apic ID : 07
[0004]                Flags (decoded below) : 00000001
                          Processor Enabled : 1
                     Runtime Online Capable : 0

/* CPU 12: socket 1, core 0, thread 1 */
[0001]                        Subtable Type : 00 [Processor Local APIC]
[0001]                               Length : 08
[0001]                         Processor ID : 0C
[0001]                        Local Apic ID : 11
[0004]                Flags (decoded below) : 00000001
                          Processor Enabled : 1
                     Runtime Online Capable : 0

/* CPU 13: socket 1, core 1, thread 1 */
[0001]                        Subtable Type : 00 [Processor Local APIC]
[0001]                               Length : 08
[0001]                         Processor ID : 0D
[0001]                        Local Apic ID : 13
[0004]                Flags (decoded below) : 00000001
                          Processor Enabled : 1
                     Runtime Online Capable : 0

/* CPU 14: socket 1, core 2, thread 1 */
[0001]                        Subtable Type : 00 [Processor Local APIC]
[0001]                               Length : 08
[0001]                         Processor ID : 0E
[0001]                        Local Apic ID : 15
[0004]                Flags (decoded below) : 00000001
                          Processor Enabled : 1
                     Runtime Online Capable : 0

/* CPU 15: socket 1, core 3, thread 1 */
[0001]                        Subtable Type : 00 [Processor Local APIC]
[0001]                               Length : 08
[0001]                         Processor ID : 0F
[0001]                        Local Apic ID : 17
[0004]                Flags (decoded below) : 00000001
                          Processor Enabled : 1
                     Runtime Online Capable : 0

/* Chipset, interrupts 0-23 */
[0001]                        Subtable Type : 01 [I/O APIC]
[0001]                               Length : 0C
[0001]                          I/O Apic ID : 08
[0001]                             Reserved : 00
[0004]                              Address : FEC00000
[0004]                            Interrupt : 00000000

/* Socket 0, interrupts 24-31 */
[0001]                        Subtable Type : 01 [I/O APIC]
[0001]                               Length : 0C
[0001]                          I/O Apic ID : 09
[0001]                             Reserved : 00
[0004]                              Address : FEC01000
[0004]                            Interrupt : 00000018

/* Socket 1, interrupts 32-39 */
[0001]                        Subtable Type : 01 [I/O APIC]
[0001]                               Length : 0C
[0001]                          I/O Apic ID : 0A
[0001]                             Reserved : 00
[0004]                              Address : FEC40000
[0004]                            Interrupt : 00000020

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
