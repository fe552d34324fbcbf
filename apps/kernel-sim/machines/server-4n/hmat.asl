/*
 * Initiators are the three sockets, targets all four memories. The expander's closest initiator is socket 1.
 * Latency entries count units of 1000 ps, bandwidth entries units of 100 MB/s.
 */
[0004]                            Signature : "HMAT" [Heterogeneous Memory Attributes Table]
[0004]                         Table Length : 00000000
[0001]                             Revision : 02
[0001]                             Checksum : 00
[0006]                               Oem ID : "XKSIM "
[0008]                         Oem Table ID : "SRV4N   "
[0004]                         Oem Revision : 00000001
[0004]                      Asl Compiler ID : "INTL"
[0004]                Asl Compiler Revision : 20200925

[0004]                             Reserved : 00000000

/* Memory of socket 0 */
[0002]                       Structure Type : 0000 [Memory Proximity Domain Attributes]
[0002]                             Reserved : 0000
[0004]                               Length : 00000028
[0002]                Flags (decoded below) : 0001
           Processor Proximity Domain Valid : 1
[0002]                            Reserved1 : 0000
[0004]  Attached Initiator Proximity Domain : 00000000
[0004]              Memory Proximity Domain : 00000000
[0004]                            Reserved2 : 00000000
[0008]                            Reserved3 : 0000000000000000
[0008]                            Reserved4 : 0000000000000000

/* Memory of socket 1 */
[0002]                       Structure Type : 0000 [Memory Proximity Domain Attributes]
[0002]                             Reserved : 0000
[0004]                               Length : 00000028
[0002]                Flags (decoded below) : 0001
           Processor Proximity Domain Valid : 1
[0002]                            Reserved1 : 0000
[0004]  Attached Initiator Proximity Domain : 00000001
[0004]              Memory Proximity Domain : 00000001
[0004]                            Reserved2 : 00000000
[0008]                            Reserved3 : 0000000000000000
[0008]                            Reserved4 : 0000000000000000

/* Memory of socket 2 */
[0002]                       Structure Type : 0000 [Memory Proximity Domain Attributes]
[0002]                             Reserved : 0000
[0004]                               Length : 00000028
[0002]                Flags (decoded below) : 0001
           Processor Proximity Domain Valid : 1
[0002]                            Reserved1 : 0000
[0004]  Attached Initiator Proximity Domain : 00000002
[0004]              Memory Proximity Domain : 00000002
[0004]                            Reserved2 : 00000000
[0008]                            Reserved3 : 0000000000000000
[0008]                            Reserved4 : 0000000000000000

/* The expander's memory, attached to socket 1 */
[0002]                       Structure Type : 0000 [Memory Proximity Domain Attributes]
[0002]                             Reserved : 0000
[0004]                               Length : 00000028
[0002]                Flags (decoded below) : 0001
           Processor Proximity Domain Valid : 1
[0002]                            Reserved1 : 0000
[0004]  Attached Initiator Proximity Domain : 00000001
[0004]              Memory Proximity Domain : 00000003
[0004]                            Reserved2 : 00000000
[0008]                            Reserved3 : 0000000000000000
[0008]                            Reserved4 : 0000000000000000

/* Access latency in ns, by initiator: 95 150 205 310, 150 95 150 255, 205 150 95 310 */
[0002]                       Structure Type : 0001 [System Locality Latency and Bandwidth Information]
[0002]                             Reserved : 0000
[0004]                               Length : 00000054
[0001]                Flags (decoded below) : 00
                           Memory Hierarchy : 0
[0001]                            Data Type : 00
[0002]                            Reserved1 : 0000
[0004]        Initiator Proximity Domains # : 00000003
[0004]           Target Proximity Domains # : 00000004
[0004]                            Reserved2 : 00000000
[0008]                      Entry Base Unit : 00000000000003E8
[0004]      Initiator Proximity Domain List : 00000000
[0004]      Initiator Proximity Domain List : 00000001
[0004]      Initiator Proximity Domain List : 00000002
[0004]         Target Proximity Domain List : 00000000
[0004]         Target Proximity Domain List : 00000001
[0004]         Target Proximity Domain List : 00000002
[0004]         Target Proximity Domain List : 00000003
[0002]                                Entry : 005F
[0002]                                Entry : 0096
[0002]                                Entry : 00CD
[0002]                                Entry : 0136
[0002]                                Entry : 0096
[0002]                                Entry : 005F
[0002]                                Entry : 0096
[0002]                                Entry : 00FF
[0002]                                Entry : 00CD
[0002]                                Entry : 0096
[0002]                                Entry : 005F
[0002]                                Entry : 0136

/* Access bandwidth in 100 MB/s, by initiator: 1536 624 312 240, 624 1536 624 280, 312 624 1536 240 */
[0002]                       Structure Type : 0001 [System Locality Latency and Bandwidth Information]
[0002]                             Reserved : 0000
[0004]                               Length : 00000054
[0001]                Flags (decoded below) : 00
                           Memory Hierarchy : 0
[0001]                            Data Type : 03
[0002]                            Reserved1 : 0000
[0004]        Initiator Proximity Domains # : 00000003
[0004]           Target Proximity Domains # : 00000004
[0004]                            Reserved2 : 00000000
[0008]                      Entry Base Unit : 0000000000000064
[0004]      Initiator Proximity Domain List : 00000000
[0004]      Initiator Proximity Domain List : 00000001
[0004]      Initiator Proximity Domain List : 00000002
[0004]         Target Proximity Domain List : 00000000
[0004]         Target Proximity Domain List : 00000001
[0004]         Target Proximity Domain List : 00000002
[0004]         Target Proximity Domain List : 00000003
[0002]                                Entry : 0600
[0002]                                Entry : 0270
[0002]                                Entry : 0138
[0002]                                Entry : 00F0
[0002]                                Entry : 0270
[0002]                                Entry : 0600
[0002]                                Entry : 0270
[0002]                                Entry : 0118
[0002]                                Entry : 0138
[0002]                                Entry : 0270
[0002]                                Entry : 0600
[0002]                                Entry : 00F0
