#!/usr/bin/env bash
# Prints what tshark sees in a capture, as JSON with the member names of `kernel-sim flows --json`: an independent opinion to test against.
# Needs tshark (Debian: tshark). usage: ./figures.sh [CAPTURE] > loopback.figures.json
set -euo pipefail
capture=${1:-$(dirname "$0")/loopback.pcap}
options=(-n -o ip.check_checksum:TRUE -o tcp.check_checksum:TRUE -o udp.check_checksum:TRUE -o ip.defragment:FALSE -o ipv6.defragment:FALSE)
# ICMP errors quote the packet that caused them; tshark dissects the quotation too, so they are left out where it would count.
count() { tshark -r "$capture" "${options[@]}" -Y "($1) && !(icmp.type==3) && !(icmpv6.type==1)" 2>/dev/null | wc -l; }
all() { tshark -r "$capture" "${options[@]}" -Y "$1" 2>/dev/null | wc -l; }
streams() { tshark -r "$capture" "${options[@]}" -q -z "conv,$1" 2>/dev/null | grep -c '<->' || true; }

# The protocol behind the outermost IP header and its extension headers. Fields in the order of the packet; the first occurrence is the outermost.
protocols() {
  tshark -r "$capture" "${options[@]}" -T fields -E occurrence=f -E separator=, -e frame.cap_len -e frame.len -e eth.type -e ip.proto \
    -e ipv6.nxt -e ipv6.hopopts.nxt -e ipv6.routing.nxt -e ipv6.dstopts.nxt -e ipv6.fraghdr.nxt 2>/dev/null
}
protocols | awk -F, -v fragments="$(count 'ip.flags.mf==1 || ip.frag_offset>0 || ipv6.fraghdr')" \
  -v ip_good="$(all 'ip.checksum.status==1')" -v ip_bad="$(all 'ip.checksum.status==0')" \
  -v tcp_good="$(count 'tcp.checksum.status==1')" -v tcp_bad="$(count 'tcp.checksum.status==0')" \
  -v udp_good="$(count 'udp.checksum.status==1')" -v udp_bad="$(count 'udp.checksum.status==0')" \
  -v tcp_flows="$(streams tcp)" -v udp_flows="$(streams udp)" '
  { packets++; bytes += $1; wire += $2
    protocol = -1
    if ($3 == "0x0800") { ipv4++; protocol = $4 }
    else if ($3 == "0x86dd") { ipv6++; protocol = $5; if ($6 != "") protocol = $6; if ($7 != "") protocol = $7; if ($8 != "") protocol = $8; if ($9 != "") protocol = $9 }
    else if ($3 == "0x0806") arp++
    else other++
    if (protocol == 6) tcp++; else if (protocol == 17) udp++; else if (protocol == 1 || protocol == 58) icmp++ }
  END {
    printf "{\n  \"packets\": %d,\n  \"bytes\": %d,\n  \"wireBytes\": %d,\n", packets, bytes, wire
    printf "  \"ipv4\": %d,\n  \"ipv6\": %d,\n  \"arp\": %d,\n  \"other\": %d,\n", ipv4, ipv6, arp, other
    printf "  \"tcp\": %d,\n  \"udp\": %d,\n  \"icmp\": %d,\n  \"fragments\": %d,\n  \"malformed\": 0,\n", tcp, udp, icmp, fragments
    printf "  \"checksums\": { \"ipGood\": %d, \"ipBad\": %d, \"tcpGood\": %d, \"tcpBad\": %d, \"udpGood\": %d, \"udpBad\": %d },\n", ip_good, ip_bad, tcp_good, tcp_bad, udp_good, udp_bad
    printf "  \"flows\": { \"tcp\": %d, \"udp\": %d }\n}\n", tcp_flows, udp_flows }'
