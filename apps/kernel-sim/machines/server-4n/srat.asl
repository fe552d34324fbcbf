/*
 * Proximity domains 0-2 are the sockets with 64 GiB each. Domain 3 is a CXL memory expander behind socket 1: 128 GiB and no processor,
 * with a further 128 GiB of address space kept for memory that can be added while the machine runs.
 */
[0004]                            Signature : "SRAT" [System Resource Affinity Table]
[0004]                         Table Length : 00000000
[0001]                             Revision : 03
[0001]                             Checksum : 00
[0006]                               Oem ID : "XKSIM "
[0008]                         Oem Table ID : "SRV4N   "
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

/* CPU 4: socket 0, core 4, thread 0 */
[0001]                        Subtable Type : 00 [Processor Local APIC/SAPIC Affinity]
[0001]                               Length : 10
[0001]              Proximity Domain Low(8) : 00
[0001]                              Apic ID : 08
[0004]                Flags (decoded below) : 00000001
                                    Enabled : 1
[0001]                      Local Sapic EID : 00
[0003]            Proximity Domain High(24) : 000000
[0004]                         Clock Domain : 00000000

/* CPU 5: socket 0, core 5, thread 0 */
[0001]                        Subtable Type : 00 [Processor Local APIC/SAPIC Affinity]
[0001]                               Length : 10
[0001]              Proximity Domain Low(8) : 00
[0001]                              Apic ID : 0A
[0004]                Flags (decoded below) : 00000001
                                    Enabled : 1
[0001]                      Local Sapic EID : 00
[0003]            Proximity Domain High(24) : 000000
[0004]                         Clock Domain : 00000000

/* CPU 6: socket 0, core 6, thread 0 */
[0001]                        Subtable Type : 00 [Processor Local APIC/SAPIC Affinity]
[0001]                               Length : 10
[0001]              Proximity Domain Low(8) : 00
[0001]                              Apic ID : 0C
[0004]                Flags (decoded below) : 00000001
                                    Enabled : 1
[0001]                      Local Sapic EID : 00
[0003]            Proximity Domain High(24) : 000000
[0004]                         Clock Domain : 00000000

/* CPU 7: socket 0, core 7, thread 0 */
[0001]                        Subtable Type : 00 [Processor Local APIC/SAPIC Affinity]
[0001]                               Length : 10
[0001]              Proximity Domain Low(8) : 00
[0001]                              Apic ID : 0E
[0004]                Flags (decoded below) : 00000001
                                    Enabled : 1
[0001]                      Local Sapic EID : 00
[0003]            Proximity Domain High(24) : 000000
[0004]                         Clock Domain : 00000000

/* CPU 8: socket 1, core 0, thread 0 */
[0001]                        Subtable Type : 00 [Processor Local APIC/SAPIC Affinity]
[0001]                               Length : 10
[0001]              Proximity Domain Low(8) : 01
[0001]                              Apic ID : 80
[0004]                Flags (decoded below) : 00000001
                                    Enabled : 1
[0001]                      Local Sapic EID : 00
[0003]            Proximity Domain High(24) : 000000
[0004]                         Clock Domain : 00000000

/* CPU 9: socket 1, core 1, thread 0 */
[0001]                        Subtable Type : 00 [Processor Local APIC/SAPIC Affinity]
[0001]                               Length : 10
[0001]              Proximity Domain Low(8) : 01
[0001]                              Apic ID : 82
[0004]                Flags (decoded below) : 00000001
                                    Enabled : 1
[0001]                      Local Sapic EID : 00
[0003]            Proximity Domain High(24) : 000000
[0004]                         Clock Domain : 00000000

/* CPU 10: socket 1, core 2, thread 0 */
[0001]                        Subtable Type : 00 [Processor Local APIC/SAPIC Affinity]
[0001]                               Length : 10
[0001]              Proximity Domain Low(8) : 01
[0001]                              Apic ID : 84
[0004]                Flags (decoded below) : 00000001
                                    Enabled : 1
[0001]                      Local Sapic EID : 00
[0003]            Proximity Domain High(24) : 000000
[0004]                         Clock Domain : 00000000

/* CPU 11: socket 1, core 3, thread 0 */
[0001]                        Subtable Type : 00 [Processor Local APIC/SAPIC Affinity]
[0001]                               Length : 10
[0001]              Proximity Domain Low(8) : 01
[0001]                              Apic ID : 86
[0004]                Flags (decoded below) : 00000001
                                    Enabled : 1
[0001]                      Local Sapic EID : 00
[0003]            Proximity Domain High(24) : 000000
[0004]                         Clock Domain : 00000000

/* CPU 12: socket 1, core 4, thread 0 */
[0001]                        Subtable Type : 00 [Processor Local APIC/SAPIC Affinity]
[0001]                               Length : 10
[0001]              Proximity Domain Low(8) : 01
[0001]                              Apic ID : 88
[0004]                Flags (decoded below) : 00000001
                                    Enabled : 1
[0001]                      Local Sapic EID : 00
[0003]            Proximity Domain High(24) : 000000
[0004]                         Clock Domain : 00000000

/* CPU 13: socket 1, core 5, thread 0 */
[0001]                        Subtable Type : 00 [Processor Local APIC/SAPIC Affinity]
[0001]                               Length : 10
[0001]              Proximity Domain Low(8) : 01
[0001]                              Apic ID : 8A
[0004]                Flags (decoded below) : 00000001
                                    Enabled : 1
[0001]                      Local Sapic EID : 00
[0003]            Proximity Domain High(24) : 000000
[0004]                         Clock Domain : 00000000

/* CPU 14: socket 1, core 6, thread 0 */
[0001]                        Subtable Type : 00 [Processor Local APIC/SAPIC Affinity]
[0001]                               Length : 10
[0001]              Proximity Domain Low(8) : 01
[0001]                              Apic ID : 8C
[0004]                Flags (decoded below) : 00000001
                                    Enabled : 1
[0001]                      Local Sapic EID : 00
[0003]            Proximity Domain High(24) : 000000
[0004]                         Clock Domain : 00000000

/* CPU 15: socket 1, core 7, thread 0 */
[0001]                        Subtable Type : 00 [Processor Local APIC/SAPIC Affinity]
[0001]                               Length : 10
[0001]              Proximity Domain Low(8) : 01
[0001]                              Apic ID : 8E
[0004]                Flags (decoded below) : 00000001
                                    Enabled : 1
[0001]                      Local Sapic EID : 00
[0003]            Proximity Domain High(24) : 000000
[0004]                         Clock Domain : 00000000

/* CPU 16: socket 2, core 0, thread 0 */
[0001]                        Subtable Type : 02 [Processor Local x2APIC Affinity]
[0001]                               Length : 18
[0002]                            Reserved1 : 0000
[0004]                     Proximity Domain : 00000002
[0004]                              Apic ID : 00000100
[0004]                Flags (decoded below) : 00000001
                                    Enabled : 1
[0004]                         Clock Domain : 00000000
[0004]                            Reserved2 : 00000000

/* CPU 17: socket 2, core 1, thread 0 */
[0001]                        Subtable Type : 02 [Processor Local x2APIC Affinity]
[0001]                               Length : 18
[0002]                            Reserved1 : 0000
[0004]                     Proximity Domain : 00000002
[0004]                              Apic ID : 00000102
[0004]                Flags (decoded below) : 00000001
                                    Enabled : 1
[0004]                         Clock Domain : 00000000
[0004]                            Reserved2 : 00000000

/* CPU 18: socket 2, core 2, thread 0 */
[0001]                        Subtable Type : 02 [Processor Local x2APIC Affinity]
[0001]                               Length : 18
[0002]                            Reserved1 : 0000
[0004]                     Proximity Domain : 00000002
[0004]                              Apic ID : 00000104
[0004]                Flags (decoded below) : 00000001
                                    Enabled : 1
[0004]                         Clock Domain : 00000000
[0004]                            Reserved2 : 00000000

/* CPU 19: socket 2, core 3, thread 0 */
[0001]                        Subtable Type : 02 [Processor Local x2APIC Affinity]
[0001]                               Length : 18
[0002]                            Reserved1 : 0000
[0004]                     Proximity Domain : 00000002
[0004]                              Apic ID : 00000106
[0004]                Flags (decoded below) : 00000001
                                    Enabled : 1
[0004]                         Clock Domain : 00000000
[0004]                            Reserved2 : 00000000

/* CPU 20: socket 2, core 4, thread 0 */
[0001]                        Subtable Type : 02 [Processor Local x2APIC Affinity]
[0001]                               Length : 18
[0002]                            Reserved1 : 0000
[0004]                     Proximity Domain : 00000002
[0004]                              Apic ID : 00000108
[0004]                Flags (decoded below) : 00000001
                                    Enabled : 1
[0004]                         Clock Domain : 00000000
[0004]                            Reserved2 : 00000000

/* CPU 21: socket 2, core 5, thread 0 */
[0001]                        Subtable Type : 02 [Processor Local x2APIC Affinity]
[0001]                               Length : 18
[0002]                            Reserved1 : 0000
[0004]                     Proximity Domain : 00000002
[0004]                              Apic ID : 0000010A
[0004]                Flags (decoded below) : 00000001
                                    Enabled : 1
[0004]                         Clock Domain : 00000000
[0004]                            Reserved2 : 00000000

/* CPU 22: socket 2, core 6, thread 0 */
[0001]                        Subtable Type : 02 [Processor Local x2APIC Affinity]
[0001]                               Length : 18
[0002]                            Reserved1 : 0000
[0004]                     Proximity Domain : 00000002
[0004]                              Apic ID : 0000010C
[0004]                Flags (decoded below) : 00000001
                                    Enabled : 1
[0004]                         Clock Domain : 00000000
[0004]                            Reserved2 : 00000000

/* CPU 23: socket 2, core 7, thread 0 */
[0001]                        Subtable Type : 02 [Processor Local x2APIC Affinity]
[0001]                               Length : 18
[0002]                            Reserved1 : 0000
[0004]                     Proximity Domain : 00000002
[0004]                              Apic ID : 0000010E
[0004]                Flags (decoded below) : 00000001
                                    Enabled : 1
[0004]                         Clock Domain : 00000000
[0004]                            Reserved2 : 00000000

/* CPU 24: socket 0, core 0, thread 1 */
[0001]                        Subtable Type : 00 [Processor Local APIC/SAPIC Affinity]
[0001]                               Length : 10
[0001]              Proximity Domain Low(8) : 00
[0001]                              Apic ID : 01
[0004]                Flags (decoded below) : 00000001
                                    Enabled : 1
[0001]                      Local Sapic EID : 00
[0003]            Proximity Domain High(24) : 000000
[0004]                         Clock Domain : 00000000

/* CPU 25: socket 0, core 1, thread 1 */
[0001]                        Subtable Type : 00 [Processor Local APIC/SAPIC Affinity]
[0001]                               Length : 10
[0001]              Proximity Domain Low(8) : 00
[0001]                              Apic ID : 03
[0004]                Flags (decoded below) : 00000001
                                    Enabled : 1
[0001]                      Local Sapic EID : 00
[0003]            Proximity Domain High(24) : 000000
[0004]                         Clock Domain : 00000000

/* CPU 26: socket 0, core 2, thread 1 */
[0001]                        Subtable Type : 00 [Processor Local APIC/SAPIC Affinity]
[0001]                               Length : 10
[0001]              Proximity Domain Low(8) : 00
[0001]                              Apic ID : 05
[0004]                Flags (decoded below) : 00000001
                                    Enabled : 1
[0001]                      Local Sapic EID : 00
[0003]            Proximity Domain High(24) : 000000
[0004]                         Clock Domain : 00000000

/* CPU 27: socket 0, core 3, thread 1 */
[0001]                        Subtable Type : 00 [Processor Local APIC/SAPIC Affinity]
[0001]                               Length : 10
[0001]              Proximity Domain Low(8) : 00
[0001]                              Apic ID : 07
[0004]                Flags (decoded below) : 00000001
                                    Enabled : 1
[0001]                      Local Sapic EID : 00
[0003]            Proximity Domain High(24) : 000000
[0004]                         Clock Domain : 00000000

/* CPU 28: socket 0, core 4, thread 1 */
[0001]                        Subtable Type : 00 [Processor Local APIC/SAPIC Affinity]
[0001]                               Length : 10
[0001]              Proximity Domain Low(8) : 00
[0001]                              Apic ID : 09
[0004]                Flags (decoded below) : 00000001
                                    Enabled : 1
[0001]                      Local Sapic EID : 00
[0003]            Proximity Domain High(24) : 000000
[0004]                         Clock Domain : 00000000

/* CPU 29: socket 0, core 5, thread 1 */
[0001]                        Subtable Type : 00 [Processor Local APIC/SAPIC Affinity]
[0001]                               Length : 10
[0001]              Proximity Domain Low(8) : 00
[0001]                              Apic ID : 0B
[0004]                Flags (decoded below) : 00000001
                                    Enabled : 1
[0001]                      Local Sapic EID : 00
[0003]            Proximity Domain High(24) : 000000
[0004]                         Clock Domain : 00000000

/* CPU 30: socket 0, core 6, thread 1 */
[0001]                        Subtable Type : 00 [Processor Local APIC/SAPIC Affinity]
[0001]                               Length : 10
[0001]              Proximity Domain Low(8) : 00
[0001]                              Apic ID : 0D
[0004]                Flags (decoded below) : 00000001
                                    Enabled : 1
[0001]                      Local Sapic EID : 00
[0003]            Proximity Domain High(24) : 000000
[0004]                         Clock Domain : 00000000

/* CPU 31: socket 0, core 7, thread 1 */
[0001]                        Subtable Type : 00 [Processor Local APIC/SAPIC Affinity]
[0001]                               Length : 10
[0001]              Proximity Domain Low(8) : 00
[0001]                              Apic ID : 0F
[0004]                Flags (decoded below) : 00000001
                                    Enabled : 1
[0001]                      Local Sapic EID : 00
[0003]            Proximity Domain High(24) : 000000
[0004]                         Clock Domain : 00000000

/* CPU 32: socket 1, core 0, thread 1 */
[0001]                        Subtable Type : 00 [Processor Local APIC/SAPIC Affinity]
[0001]                               Length : 10
[0001]              Proximity Domain Low(8) : 01
[0001]                              Apic ID : 81
[0004]                Flags (decoded below) : 00000001
                                    Enabled : 1
[0001]                      Local Sapic EID : 00
[0003]            Proximity Domain High(24) : 000000
[0004]                         Clock Domain : 00000000

/* CPU 33: socket 1, core 1, thread 1 */
[0001]                        Subtable Type : 00 [Processor Local APIC/SAPIC Affinity]
[0001]                               Length : 10
[0001]              Proximity Domain Low(8) : 01
[0001]                              Apic ID : 83
[0004]                Flags (decoded below) : 00000001
                                    Enabled : 1
[0001]                      Local Sapic EID : 00
[0003]            Proximity Domain High(24) : 000000
[0004]                         Clock Domain : 00000000

/* CPU 34: socket 1, core 2, thread 1 */
[0001]                        Subtable Type : 00 [Processor Local APIC/SAPIC Affinity]
[0001]                               Length : 10
[0001]              Proximity Domain Low(8) : 01
[0001]                              Apic ID : 85
[0004]                Flags (decoded below) : 00000001
                                    Enabled : 1
[0001]                      Local Sapic EID : 00
[0003]            Proximity Domain High(24) : 000000
[0004]                         Clock Domain : 00000000

/* CPU 35: socket 1, core 3, thread 1 */
[0001]                        Subtable Type : 00 [Processor Local APIC/SAPIC Affinity]
[0001]                               Length : 10
[0001]              Proximity Domain Low(8) : 01
[0001]                              Apic ID : 87
[0004]                Flags (decoded below) : 00000001
                                    Enabled : 1
[0001]                      Local Sapic EID : 00
[0003]            Proximity Domain High(24) : 000000
[0004]                         Clock Domain : 00000000

/* CPU 36: socket 1, core 4, thread 1 */
[0001]                        Subtable Type : 00 [Processor Local APIC/SAPIC Affinity]
[0001]                               Length : 10
[0001]              Proximity Domain Low(8) : 01
[0001]                              Apic ID : 89
[0004]                Flags (decoded below) : 00000001
                                    Enabled : 1
[0001]                      Local Sapic EID : 00
[0003]            Proximity Domain High(24) : 000000
[0004]                         Clock Domain : 00000000

/* CPU 37: socket 1, core 5, thread 1 */
[0001]                        Subtable Type : 00 [Processor Local APIC/SAPIC Affinity]
[0001]                               Length : 10
[0001]              Proximity Domain Low(8) : 01
[0001]                              Apic ID : 8B
[0004]                Flags (decoded below) : 00000001
                                    Enabled : 1
[0001]                      Local Sapic EID : 00
[0003]            Proximity Domain High(24) : 000000
[0004]                         Clock Domain : 00000000

/* CPU 38: socket 1, core 6, thread 1 */
[0001]                        Subtable Type : 00 [Processor Local APIC/SAPIC Affinity]
[0001]                               Length : 10
[0001]              Proximity Domain Low(8) : 01
[0001]                              Apic ID : 8D
[0004]                Flags (decoded below) : 00000001
                                    Enabled : 1
[0001]                      Local Sapic EID : 00
[0003]            Proximity Domain High(24) : 000000
[0004]                         Clock Domain : 00000000

/* CPU 39: socket 1, core 7, thread 1 */
[0001]                        Subtable Type : 00 [Processor Local APIC/SAPIC Affinity]
[0001]                               Length : 10
[0001]              Proximity Domain Low(8) : 01
[0001]                              Apic ID : 8F
[0004]                Flags (decoded below) : 00000001
                                    Enabled : 1
[0001]                      Local Sapic EID : 00
[0003]            Proximity Domain High(24) : 000000
[0004]                         Clock Domain : 00000000

/* CPU 40: socket 2, core 0, thread 1 */
[0001]                        Subtable Type : 02 [Processor Local x2APIC Affinity]
[0001]                               Length : 18
[0002]                            Reserved1 : 0000
[0004]                     Proximity Domain : 00000002
[0004]                              Apic ID : 00000101
[0004]                Flags (decoded below) : 00000001
                                    Enabled : 1
[0004]                         Clock Domain : 00000000
[0004]                            Reserved2 : 00000000

/* CPU 41: socket 2, core 1, thread 1 */
[0001]                        Subtable Type : 02 [Processor Local x2APIC Affinity]
[0001]                               Length : 18
[0002]                            Reserved1 : 0000
[0004]                     Proximity Domain : 00000002
[0004]                              Apic ID : 00000103
[0004]                Flags (decoded below) : 00000001
                                    Enabled : 1
[0004]                         Clock Domain : 00000000
[0004]                            Reserved2 : 00000000

/* CPU 42: socket 2, core 2, thread 1 */
[0001]                        Subtable Type : 02 [Processor Local x2APIC Affinity]
[0001]                               Length : 18
[0002]                            Reserved1 : 0000
[0004]                     Proximity Domain : 00000002
[0004]                              Apic ID : 00000105
[0004]                Flags (decoded below) : 00000001
                                    Enabled : 1
[0004]                         Clock Domain : 00000000
[0004]                            Reserved2 : 00000000

/* CPU 43: socket 2, core 3, thread 1 */
[0001]                        Subtable Type : 02 [Processor Local x2APIC Affinity]
[0001]                               Length : 18
[0002]                            Reserved1 : 0000
[0004]                     Proximity Domain : 00000002
[0004]                              Apic ID : 00000107
[0004]                Flags (decoded below) : 00000001
                                    Enabled : 1
[0004]                         Clock Domain : 00000000
[0004]                            Reserved2 : 00000000

/* CPU 44: socket 2, core 4, thread 1 */
[0001]                        Subtable Type : 02 [Processor Local x2APIC Affinity]
[0001]                               Length : 18
[0002]                            Reserved1 : 0000
[0004]                     Proximity Domain : 00000002
[0004]                              Apic ID : 00000109
[0004]                Flags (decoded below) : 00000001
                                    Enabled : 1
[0004]                         Clock Domain : 00000000
[0004]                            Reserved2 : 00000000

/* CPU 45: socket 2, core 5, thread 1 */
[0001]                        Subtable Type : 02 [Processor Local x2APIC Affinity]
[0001]                               Length : 18
[0002]                            Reserved1 : 0000
[0004]                     Proximity Domain : 00000002
[0004]                              Apic ID : 0000010B
[0004]                Flags (decoded below) : 00000001
                                    Enabled : 1
[0004]                         Clock Domain : 00000000
[0004]                            Reserved2 : 00000000

/* CPU 46: socket 2, core 6, thread 1 */
[0001]                        Subtable Type : 02 [Processor Local x2APIC Affinity]
[0001]                               Length : 18
[0002]                            Reserved1 : 0000
[0004]                     Proximity Domain : 00000002
[0004]                              Apic ID : 0000010D
[0004]                Flags (decoded below) : 00000001
                                    Enabled : 1
[0004]                         Clock Domain : 00000000
[0004]                            Reserved2 : 00000000

/* CPU 47: socket 2, core 7, thread 1 */
[0001]                        Subtable Type : 02 [Processor Local x2APIC Affinity]
[0001]                               Length : 18
[0002]                            Reserved1 : 0000
[0004]                     Proximity Domain : 00000002
[0004]                              Apic ID : 0000010F
[0004]                Flags (decoded below) : 00000001
                                    Enabled : 1
[0004]                         Clock Domain : 00000000
[0004]                            Reserved2 : 00000000

/* Node 0: 2 GiB below the hole for devices under 4 GiB */
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

/* Node 0: 62 GiB above it */
[0001]                        Subtable Type : 01 [Memory Affinity]
[0001]                               Length : 28
[0004]                     Proximity Domain : 00000000
[0002]                            Reserved1 : 0000
[0008]                         Base Address : 0000000100000000
[0008]                       Address Length : 0000000F80000000
[0004]                            Reserved2 : 00000000
[0004]                Flags (decoded below) : 00000001
                                    Enabled : 1
                              Hot Pluggable : 0
                               Non-Volatile : 0
[0008]                            Reserved3 : 0000000000000000

/* Node 1: 64 GiB */
[0001]                        Subtable Type : 01 [Memory Affinity]
[0001]                               Length : 28
[0004]                     Proximity Domain : 00000001
[0002]                            Reserved1 : 0000
[0008]                         Base Address : 0000001080000000
[0008]                       Address Length : 0000001000000000
[0004]                            Reserved2 : 00000000
[0004]                Flags (decoded below) : 00000001
                                    Enabled : 1
                              Hot Pluggable : 0
                               Non-Volatile : 0
[0008]                            Reserved3 : 0000000000000000

/* Node 2: 64 GiB */
[0001]                        Subtable Type : 01 [Memory Affinity]
[0001]                               Length : 28
[0004]                     Proximity Domain : 00000002
[0002]                            Reserved1 : 0000
[0008]                         Base Address : 0000002080000000
[0008]                       Address Length : 0000001000000000
[0004]                            Reserved2 : 00000000
[0004]                Flags (decoded below) : 00000001
                                    Enabled : 1
                              Hot Pluggable : 0
                               Non-Volatile : 0
[0008]                            Reserved3 : 0000000000000000

/* Node 3: 128 GiB of the expander */
[0001]                        Subtable Type : 01 [Memory Affinity]
[0001]                               Length : 28
[0004]                     Proximity Domain : 00000003
[0002]                            Reserved1 : 0000
[0008]                         Base Address : 0000004000000000
[0008]                       Address Length : 0000002000000000
[0004]                            Reserved2 : 00000000
[0004]                Flags (decoded below) : 00000001
                                    Enabled : 1
                              Hot Pluggable : 0
                               Non-Volatile : 0
[0008]                            Reserved3 : 0000000000000000

/* Node 3: room for 128 GiB more, hot-pluggable */
[0001]                        Subtable Type : 01 [Memory Affinity]
[0001]                               Length : 28
[0004]                     Proximity Domain : 00000003
[0002]                            Reserved1 : 0000
[0008]                         Base Address : 0000006000000000
[0008]                       Address Length : 0000002000000000
[0004]                            Reserved2 : 00000000
[0004]                Flags (decoded below) : 00000003
                                    Enabled : 1
                              Hot Pluggable : 1
                               Non-Volatile : 0
[0008]                            Reserved3 : 0000000000000000
