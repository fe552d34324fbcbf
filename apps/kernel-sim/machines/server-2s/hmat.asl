/*
 * Two-socket server: 90 ns at home and 139 ns across the link, 102.4 GB/s and 34.0 GB/s.
 * Latency entries count units of 1000 ps, bandwidth entries units of 100 MB/s.
 */
[0004]                            Signature : "HMAT" [Heterogeneous Memory Attributes Table]
[0004]                         Table Length : 00000000
[0001]                             Revision : 02
[0001]                             Checksum : 00
[0006]                               Oem ID : "XKSIM "
[0008]                         Oem Table ID : "SRV2S   "
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

/* Access latency: 90 and 139 ns */
[0002]                       Structure Type : 0001 [System Locality Latency and Bandwidth Information]
[0002]                             Reserved : 0000
[0004]                               Length : 00000038
[0001]                Flags (decoded below) : 00
                           Memory Hierarchy : 0
[0001]                            Data Type : 00
[0002]                            Reserved1 : 0000
[0004]        Initiator Proximity Domains # : 00000002
[0004]           Target Proximity Domains # : 00000002
[0004]                            Reserved2 : 00000000
[0008]                      Entry Base Unit : 00000000000003E8
[0004]      Initiator Proximity Domain List : 00000000
[0004]      Initiator Proximity Domain List : 00000001
[0004]         Target Proximity Domain List : 00000000
[0004]         Target Proximity Domain List : 00000001
[0002]                                Entry : 005A
[0002]                                Entry : 008B
[0002]                                Entry : 008B
[0002]                                Entry : 005A

/* Access bandwidth: 102.4 and 34.0 GB/s */
[0002]                       Structure Type : 0001 [System Locality Latency and Bandwidth Information]
[0002]                             Reserved : 0000
[0004]                               Length : 00000038
[0001]                Flags (decoded below) : 00
                           Memory Hierarchy : 0
[0001]                            Data Type : 03
[0002]                            Reserved1 : 0000
[0004]        Initiator Proximity Domains # : 00000002
[0004]           Target Proximity Domains # : 00000002
[0004]                            Reserved2 : 00000000
[0008]                      Entry Base Unit : 0000000000000064
[0004]      Initiator Proximity Domain List : 00000000
[0004]      Initiator Proximity Domain List : 00000001
[0004]         Target Proximity Domain List : 00000000
[0004]         Target Proximity Domain List : 00000001
[0002]                                Entry : 0400
[0002]                                Entry : 0154
[0002]                                Entry : 0154
[0002]                                Entry : 0400
