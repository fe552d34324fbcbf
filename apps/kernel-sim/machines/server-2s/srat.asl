/*
 * Two-socket server: one proximity domain per socket, 32 GiB each.
 * Domain 0 has 2 GiB below the hole for devices under 4 GiB and the rest above it.
 */
[0004]                            Signature : "SRAT" [System Resource Affinity Table]
[0004]                         Table Length : 00000000
[0001]                             Revision : 03
[0001]                             Checksum : 00
[0006]                               Oem ID : "XKSIM "
[0008]                         Oem Table ID : "SRV2S   "
[0004]                         Oem Revision : 00000001
[0004]                      Asl Compiler ID : "INTL"
[0004]                Asl Compiler Revision : 20200925

[0004]                       Table Revision : 00000001
[0008]                             Reserved : 0000000000000000

/* CPU 0: socket 0, core 0, thread 0 */
[0001]                        Subtable Type : 00 [Processor Local APIC/SAPIC Affinity]
[0001]                               Length : 10
[0001]              Proximity Domain Low(8) : 00
[0001]                              Apic ID : 00
[0004]                Flags (decoded below) : 00000001
                                    Enabled : 1
[0001]                      Local Sapic EID : 00
[0003]            Proximity Domain High(24) : 000000
[0004]                         Clock Domain : 00000000

/* CPU 1: socket 0, core 1, thread 0 */
[0001]                        Subtable Type : 00 [Processor Local APIC/SAPIC Affinity]
[0001]                               Length : 10
[0001]              Proximity Domain Low(8) : 00
[0001]                              Apic ID : 02
[0004]                Flags (decoded below) : 00000001
                                    Enabled : 1
[0001]                      Local Sapic EID : 00
[0003]            Proximity Domain High(24) : 000000
[0004]                         Clock Domain : 00000000

/* CPU 2: socket 0, core 2, thread 0 */
[0001]                        Subtable Type : 00 [Processor Local APIC/SAPIC Affinity]
[0001]                               Length : 10
[0001]              Proximity Domain Low(8) : 00
[0001]                              Apic ID : 04
[0004]                Flags (decoded below) : 00000001
                                    Enabled : 1
[0001]                      Local Sapic EID : 00
[0003]            Proximity Domain High(24) : 000000
[0004]                         Clock Domain : 00000000

/* CPU 3: socket 0, core 3, thread 0 */
[0001]                        Subtable Type : 00 [Processor Local APIC/SAPIC Affinity]
[0001]                               Length : 10
[0001]              Proximity Domain Low(8) : 00
[0001]                              Apic ID : 06
[0004]                Flags (decoded below) : 00000001
                                    Enabled : 1
[0001]                      Local Sapic EID : 00
[0003]            Proximity Domain High(24) : 000000
[0004]                         Clock Domain : 00000000

/* CPU 4: socket 1, core 0, thread 0 */
[0001]                        Subtable Type : 00 [Processor Local APIC/SAPIC Affinity]
[0001]                               Length : 10
[0001]              Proximity Domain Low(8) : 01
[0001]                              Apic ID : 10
[0004]                Flags (decoded below) : 00000001
                                    Enabled : 1
[0001]                      Local Sapic EID : 00
[0003]            Proximity Domain High(24) : 000000
[0004]                         Clock Domain : 00000000

/* CPU 5: socket 1, core 1, thread 0 */
[0001]                        Subtable Type : 00 [Processor Local APIC/SAPIC Affinity]
[0001]                               Length : 10
[0001]              Proximity Domain Low(8) : 01
[0001]                              Apic ID : 12
[0004]                Flags (decoded below) : 00000001
                                    Enabled : 1
[0001]                      Local Sapic EID : 00
[0003]            Proximity Domain High(24) : 000000
[0004]                         Clock Domain : 00000000

/* CPU 6: socket 1, core 2, thread 0 */
[0001]                        Subtable Type : 00 [Processor Local APIC/SAPIC Affinity]
[0001]                               Length : 10
[0001]              Proximity Domain Low(8) : 01
[0001]                              Apic ID : 14
[0004]                Flags (decoded below) : 00000001
                                    Enabled : 1
[0001]                      Local Sapic EID : 00
[0003]            Proximity Domain High(24) : 000000
[0004]                         Clock Domain : 00000000

/* CPU 7: socket 1, core 3, thread 0 */
[0001]                        Subtable Type : 00 [Processor Local APIC/SAPIC Affinity]
[0001]                               Length : 10
[0001]              Proximity Domain Low(8) : 01
[0001]                              Apic ID : 16
[0004]                Flags (decoded below) : 00000001
                                    Enabled : 1
[0001]                      Local Sapic EID : 00
[0003]            Proximity Domain High(24) : 000000
[0004]                         Clock Domain : 00000000

/* CPU 8: socket 0, core 0, thread 1 */
[0001]                        Subtable Type : 00 [Processor Local APIC/SAPIC Affinity]
[0001]                               Length : 10
[0001]              Proximity Domain Low(8) : 00
[0001]                              Apic ID : 01
[0004]                Flags (decoded below) : 00000001
                                    Enabled : 1
[0001]                      Local Sapic EID : 00
[0003]            Proximity Domain High(24) : 000000
[0004]                         Clock Domain : 00000000

/* CPU 9: socket 0, core 1, thread 1 */
[0001]                        Subtable Type : 00 [Processor Local APIC/SAPIC Affinity]
[0001]                               Length : 10
[0001]              Proximity Domain Low(8) : 00
[0001]                              Apic ID : 03
[0004]                Flags (decoded below) : 00000001
                                    Enabled : 1
[0001]                      Local Sapic EID : 00
[0003]            Proximity Domain High(24) : 000000
[0004]                         Clock Domain : 00000000

/* CPU 10: socket 0, core 2, thread 1 */
[0001]                        Subtable Type : 00 [Processor Local APIC/SAPIC Affinity]
[0001]                               Length : 10
[0001]              Proximity Domain Low(8) : 00
[0001]                              Apic ID : 05
[0004]                Flags (decoded below) : 00000001
                                    Enabled : 1
[0001]                      Local Sapic EID : 00
[0003]            Proximity Domain High(24) : 000000
[0004]                         Clock Domain : 00000000

/* CPU 11: socket 0, core 3, thread 1 */
[0001]                        Subtable Type : 00 [Processor Local APIC/SAPIC Affinity]
[0001]                               Length : 10
[0001]              Proximity Domain Low(8) : 00
[0001]                              Apic ID : 07
[0004]                Flags (decoded below) : 00000001
                                    Enabled : 1
[0001]                      Local Sapic EID : 00
[0003]            Proximity Domain High(24) : 000000
[0004]                         Clock Domain : 00000000

/* CPU 12: socket 1, core 0, thread 1 */
[0001]                        Subtable Type : 00 [Processor Local APIC/SAPIC Affinity]
[0001]                               Length : 10
[0001]              Proximity Domain Low(8) : 01
[0001]                              Apic ID : 11
[0004]                Flags (decoded below) : 00000001
                                    Enabled : 1
[0001]                      Local Sapic EID : 00
[0003]            Proximity Domain High(24) : 000000
[0004]                         Clock Domain : 00000000

/* CPU 13: socket 1, core 1, thread 1 */
[0001]                        Subtable Type : 00 [Processor Local APIC/SAPIC Affinity]
[0001]                               Length : 10
[0001]              Proximity Domain Low(8) : 01
[0001]                              Apic ID : 13
[0004]                Flags (decoded below) : 00000001
                                    Enabled : 1
[0001]                      Local Sapic EID : 00
[0003]            Proximity Domain High(24) : 000000
[0004]                         Clock Domain : 00000000

/* CPU 14: socket 1, core 2, thread 1 */
[0001]                        Subtable Type : 00 [Processor Local APIC/SAPIC Affinity]
[0001]                               Length : 10
[0001]              Proximity Domain Low(8) : 01
[0001]                              Apic ID : 15
[0004]                Flags (decoded below) : 00000001
                                    Enabled : 1
[0001]                      Local Sapic EID : 00
[0003]            Proximity Domain High(24) : 000000
[0004]                         Clock Domain : 00000000

/* CPU 15: socket 1, core 3, thread 1 */
[0001]                        Subtable Type : 00 [Processor Local APIC/SAPIC Affinity]
[0001]                               Length : 10
[0001]              Proximity Domain Low(8) : 01
[0001]                              Apic ID : 17
[0004]                Flags (decoded below) : 00000001
                                    Enabled : 1
[0001]                      Local Sapic EID : 00
[0003]            Proximity Domain High(24) : 000000
[0004]                         Clock Domain : 00000000

/* Node 0: 2 GiB below the hole */
[0001]                        Subtable Type : 01 [Memory Affinity]
[0001]                               Length : 28
[0004]                     Proximity Domain : 00000000
[0002]                            Reserved1 : 0000
[0008]                         Base Address : 0000000000000000
[0008]                       Address Length : 0000000080000000
[0004]                            Reserved2 : 00000000
[0004]                Flags (decoded below) : 00000001
                                    Enabled : 1
                              Hot Pluggable : 0
                               Non-Volatile : 0
[0008]                            Reserved3 : 0000000000000000

/* Node 0: 30 GiB above it */
[0001]                        Subtable Type : 01 [Memory Affinity]
[0001]                               Length : 28
[0004]                     Proximity Domain : 00000000
[0002]                            Reserved1 : 0000
[0008]                         Base Address : 0000000100000000
[0008]                       Address Length : 0000000780000000
[0004]                            Reserved2 : 00000000
[0004]                Flags (decoded below) : 00000001
                                    Enabled : 1
                              Hot Pluggable : 0
                               Non-Volatile : 0
[0008]                            Reserved3 : 0000000000000000

/* Node 1: 32 GiB */
[0001]                        Subtable Type : 01 [Memory Affinity]
[0001]                               Length : 28
[0004]                     Proximity Domain : 00000001
[0002]                            Reserved1 : 0000
[0008]                         Base Address : 0000000880000000
[0008]                       Address Length : 0000000800000000
[0004]                            Reserved2 : 00000000
[0004]                Flags (decoded below) : 00000001
                                    Enabled : 1
                              Hot Pluggable : 0
                               Non-Volatile : 0
[0008]                            Reserved3 : 0000000000000000
