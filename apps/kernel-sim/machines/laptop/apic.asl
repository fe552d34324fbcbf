/*
 * Laptop: two performance cores with two threads each and four efficient cores, eight processors in one package.
 * The firmware names two more processors that this model of the package does not have: their entries are disabled.
 * All numbers are hexadecimal; iasl fills in the length and the checksum.
 */
[0004]                            Signature : "APIC" [Multiple APIC Description Table (MADT)]
[0004]                         Table Length : 00000000
[0001]                             Revision : 04
[0001]                             Checksum : 00
[0006]                               Oem ID : "XKSIM "
[0008]                         Oem Table ID : "LAPTOP  "
[0004]                         Oem Revision : 00000001
[0004]                      Asl Compiler ID : "INTL"
[0004]                Asl Compiler Revision : 20200925

[0004]                   Local Apic Address : FEE00000
[0004]                Flags (decoded below) : 00000001
                        PC-AT Compatibility : 1

/* CPU 0: core 0 (performance), thread 0 */
[0001]                        Subtable Type : 00 [Processor Local APIC]
[0001]                               Length : 08
[0001]                         Processor ID : 00
[0001]                        Local Apic ID : 00
[0004]                Flags (decoded below) : 00000001
                          Processor Enabled : 1
                     Runtime Online Capable : 0

/* CPU 1: core 0 (performance), thread 1 */
[0001]                        Subtable Type : 00 [Processor Local APIC]
[0001]                               Length : 08
[0001]                         Processor ID : 01
[0001]                        Local Apic ID : 01
[0004]                Flags (decoded below) : 00000001
                          Processor Enabled : 1
                     Runtime Online Capable : 0

/* CPU 2: core 1 (performance), thread 0 */
[0001]                        Subtable Type : 00 [Processor Local APIC]
[0001]                               Length : 08
[0001]                         Processor ID : 02
[0001]                        Local Apic ID : 08
[0004]                Flags (decoded below) : 00000001
                          Processor Enabled : 1
                     Runtime Online Capable : 0

/* CPU 3: core 1 (performance), thread 1 */
[0001]                        Subtable Type : 00 [Processor Local APIC]
[0001]                               Length : 08
[0001]                         Processor ID : 03
[0001]                        Local Apic ID : 09
[0004]                Flags (decoded below) : 00000001
                          Processor Enabled : 1
                     Runtime Online Capable : 0

/* CPU 4: core 2 (efficient) */
[0001]                        Subtable Type : 00 [Processor Local APIC]
[0001]                               Length : 08
[0001]                         Processor ID : 04
[0001]                        Local Apic ID : 10
[0004]                Flags (decoded below) : 00000001
                          Processor Enabled : 1
                     Runtime Online Capable : 0

/* CPU 5: core 3 (efficient) */
[0001]                        Subtable Type : 00 [Processor Local APIC]
[0001]                               Length : 08
[0001]                         Processor ID : 05
[0001]                        Local Apic ID : 12
[0004]                Flags (decoded below) : 00000001
                          Processor Enabled : 1
                     Runtime Online Capable : 0

/* CPU 6: core 4 (efficient) */
[0001]                        Subtable Type : 00 [Processor Local APIC]
[0001]                               Length : 08
[0001]                         Processor ID : 06
[0001]                        Local Apic ID : 14
[0004]                Flags (decoded below) : 00000001
                          Processor Enabled : 1
                     Runtime Online Capable : 0

/* CPU 7: core 5 (efficient) */
[0001]                        Subtable Type : 00 [Processor Local APIC]
[0001]                               Length : 08
[0001]                         Processor ID : 07
[0001]                        Local Apic ID : 16
[0004]                Flags (decoded below) : 00000001
                          Processor Enabled : 1
                     Runtime Online Capable : 0

/* Not fitted */
[0001]                        Subtable Type : 00 [Processor Local APIC]
[0001]                               Length : 08
[0001]                         Processor ID : 08
[0001]                        Local Apic ID : 18
[0004]                Flags (decoded below) : 00000000
                          Processor Enabled : 0
                     Runtime Online Capable : 0

/* Not fitted */
[0001]                        Subtable Type : 00 [Processor Local APIC]
[0001]                               Length : 08
[0001]                         Processor ID : 09
[0001]                        Local Apic ID : 1A
[0004]                Flags (decoded below) : 00000000
                          Processor Enabled : 0
                     Runtime Online Capable : 0

/* The one I/O APIC, interrupts 0-119 */
[0001]                        Subtable Type : 01 [I/O APIC]
[0001]                               Length : 0C
[0001]                          I/O Apic ID : 02
[0001]                             Reserved : 00
[0004]                              Address : FEC00000
[0004]                            Interrupt : 00000000

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
