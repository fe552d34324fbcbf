#!/usr/bin/env bash
# Records loopback.pcap: real programs talk to each other in three network namespaces of this machine, and tcpdump listens on the
# bridge between them. Nothing leaves the machine. Needs root and Debian's packages:
#
#   apt-get install iproute2 ethtool tcpdump nginx-light openssl curl dnsmasq-base bind9-dnsutils microsocks \
#                   tinyproxy openssh-server openssh-client ncat iputils-ping
#
# usage: ./record.sh [OUTPUT.pcap]      (takes about twenty seconds)
#
#   client 10.10.0.2 fd00:10::2 ──┐
#   server 10.10.0.1 fd00:10::1 ──┤ bridge xkbr, MTU 1500, all offloads off: every checksum on the wire is real
#   proxy  10.10.0.3 fd00:10::3 ──┘
set -euo pipefail

out=$(realpath -m "${1:-$(dirname "$0")/loopback.pcap}")
[ "$(id -u)" = 0 ] || { echo "record.sh: needs root (network namespaces)" >&2; exit 2; }
for program in ip ethtool tcpdump nginx openssl curl dnsmasq dig microsocks tinyproxy sshd ssh ncat ping; do
  PATH=$PATH:/usr/sbin command -v "$program" >/dev/null || { echo "record.sh: $program is missing (see the head of this file)" >&2; exit 2; }
done
export PATH=$PATH:/usr/sbin
work=$(mktemp -d /tmp/xk-record.XXXXXX)
pids=()

cleanup() {
  for pid in "${pids[@]}"; do kill "$pid" 2>/dev/null || true; done
  wait 2>/dev/null || true
  for host in server client proxy; do
    ip netns del "xk-$host" 2>/dev/null || true
    rm -rf "/etc/netns/xk-$host"
  done
  ip netns del xk-bridge 2>/dev/null || true
  rm -rf "$work"
}
trap cleanup EXIT

# ---- network -------------------------------------------------------------------------------------------------------------------
host() { # NAME NUMBER: a namespace with one veth leg on the bridge and a fixed hardware address
  ip netns add "xk-$1"
  ip link add "xk$1" netns xk-bridge type veth peer name eth0 netns "xk-$1"
  ip -n "xk-$1" link set eth0 address "02:00:0a:0a:00:0$2"
  ip netns exec "xk-$1" ethtool -K eth0 tx off rx off sg off tso off gso off gro off >/dev/null 2>&1 || true
  ip netns exec xk-bridge ethtool -K "xk$1" tx off rx off sg off tso off gso off gro off >/dev/null 2>&1 || true
  ip -n xk-bridge link set "xk$1" master xkbr up
  ip -n "xk-$1" link set lo up
  ip -n "xk-$1" addr add "10.10.0.$2/24" dev eth0
  ip -n "xk-$1" addr add "fd00:10::$2/64" dev eth0 nodad
  ip -n "xk-$1" link set eth0 up
  mkdir -p "/etc/netns/xk-$1"
  printf 'nameserver 10.10.0.1\nsearch test\n' >"/etc/netns/xk-$1/resolv.conf"
}
ip netns add xk-bridge
ip -n xk-bridge link add xkbr type bridge
ip -n xk-bridge link set xkbr up
host server 1
host client 2
host proxy 3
on() { ip netns exec "xk-$1" "${@:2}"; }

# ---- servers -------------------------------------------------------------------------------------------------------------------
www=$work/www
mkdir -p "$www" "$work/nginx"
chmod 755 "$work" "$www"
seq 1 60 | head -c 120 >"$www/tiny.txt"
for k in 2 6 12 24; do seq -f 'line %08g of a plain text file' 1 100000 | head -c $((k * 1024)) >"$www/${k}k.txt" || true; done
head -c 49152 /dev/urandom >"$www/48k.bin"
openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 3650 -subj /CN=www.test \
  -keyout "$work/key.pem" -out "$work/cert.pem" 2>/dev/null
cat >"$work/nginx.conf" <<CONF
daemon off; worker_processes 1; error_log $work/nginx/error.log; pid $work/nginx/pid;
events { worker_connections 512; }
http {
  access_log off; root $www; keepalive_timeout 5; client_body_temp_path $work/nginx/body; client_max_body_size 1m;
  proxy_temp_path $work/nginx/p; fastcgi_temp_path $work/nginx/f; uwsgi_temp_path $work/nginx/u; scgi_temp_path $work/nginx/s;
  server {
    listen 8080; listen [::]:8080; listen 8443 ssl http2; listen [::]:8443 ssl http2;
    ssl_certificate $work/cert.pem; ssl_certificate_key $work/key.pem;
    location /upload { client_body_buffer_size 256k; return 204; }
  }
}
CONF
start() { # NAMESPACE COMMAND…: runs until clean-up
  on "$1" "${@:2}" >"$work/$1-$(basename "$2").log" 2>&1 &
  pids+=($!)
}
start server nginx -c "$work/nginx.conf" -p "$work/nginx"
start server dnsmasq --no-daemon --conf-file=/dev/null --no-resolv --no-hosts --user=root --pid-file= --edns-packet-max=1232 \
  --address=/www.test/10.10.0.1 --address=/www.test/fd00:10::1 --address=/proxy.test/10.10.0.3 --mx-host=test,mail.test,10 \
  --host-record=ns.test,10.10.0.1,fd00:10::1 --host-record=web.test,10.10.0.1 --txt-record=short.test,"v=1 capture" --local=/test/ \
  --txt-record=long.test,"$(printf 'x%.0s' $(seq 250))","$(printf 'y%.0s' $(seq 250))","$(printf 'z%.0s' $(seq 250))"
mkdir -p /run/sshd
ssh-keygen -q -t ed25519 -N '' -C capture -f "$work/hostkey"
ssh-keygen -q -t ed25519 -N '' -C capture -f "$work/id"
cp "$work/id.pub" "$work/authorized"
chmod 600 "$work/authorized"
start server /usr/sbin/sshd -D -e -p 2222 -f /dev/null -h "$work/hostkey" -o "AuthorizedKeysFile=$work/authorized" -o UsePAM=no \
  -o StrictModes=no -o PermitRootLogin=yes -o "PidFile=$work/sshd.pid" -o PrintMotd=no
start server ncat -l -k 7007 -e /bin/cat
start server ncat -6 -l -k 7008 -e /bin/cat
start server ncat -u -l -k 7009 -e /bin/cat
start server ncat -6 -u -l -k 7010 -e /bin/cat
start proxy microsocks -i 0.0.0.0 -p 1080
start proxy /usr/bin/microsocks -i :: -p 1081 -u user -P secret
cat >"$work/tinyproxy.conf" <<CONF
Port 3128
Listen 10.10.0.3
Listen fd00:10::3
Timeout 30
MaxClients 100
LogLevel Warning
ConnectPort 8080
ConnectPort 8443
ConnectPort 2222
CONF
start proxy tinyproxy -d -c "$work/tinyproxy.conf"
ssh_options=(-i "$work/id" -o Port=2222 -o StrictHostKeyChecking=no -o UserKnownHostsFile=/dev/null -o LogLevel=ERROR)

await() { # NAMESPACE PORT…: until something listens on each
  local port
  for port in "${@:2}"; do
    for _ in $(seq 100); do on "$1" ss -Hlntu | grep -q ":$port " && continue 2; sleep 0.05; done
    echo "record.sh: nothing listens on port $port of $1" >&2
    cat "$work"/*.log >&2
    exit 1
  done
}
await server 8080 8443 53 2222 7007 7008 7009 7010
start proxy ssh -N -D 10.10.0.3:1082 -o ExitOnForwardFailure=yes "${ssh_options[@]}" root@10.10.0.1 # a SOCKS4 and SOCKS5 server
await proxy 1080 1081 1082 3128

# ---- capture -------------------------------------------------------------------------------------------------------------------
ip netns exec xk-bridge tcpdump -i xkbr -w "$work/out.pcap" -B 8192 -U 'not ether proto 0x88cc' 2>"$work/tcpdump.log" &
tcpdump=$!
pids+=("$tcpdump")
until grep -q listening "$work/tcpdump.log"; do sleep 0.05; done

get() { on client curl -sS --no-progress-meter -k -o /dev/null --max-time 10 "$@"; }
v4=http://10.10.0.1:8080 v6=http://[fd00:10::1]:8080

web() {
  for i in $(seq 45); do get "$v4/tiny.txt?$i"; done &
  local a=$!
  for i in $(seq 45); do get "$v6/tiny.txt?$i"; done &
  local b=$!
  for size in 2k 6k 12k 24k; do get $v4/$size.txt; get $v6/$size.txt; get -I $v4/$size.txt; get "http://www.test:8080/$size.txt"; done
  get $v4/48k.bin
  get --limit-rate 60k $v6/48k.bin
  get $v4/missing -o /dev/null $v6/missing
  get $v4/tiny.txt -o /dev/null $v4/2k.txt -o /dev/null $v4/6k.txt -o /dev/null $v4/tiny.txt # one connection, four requests
  get --data-binary @"$www/24k.txt" $v4/upload
  get --data-binary @"$www/12k.txt" $v6/upload
  get --http2 https://10.10.0.1:8443/12k.txt
  for i in 1 2 3 4 5 6; do get "https://[fd00:10::1]:8443/tiny.txt?$i"; get "https://10.10.0.1:8443/2k.txt?$i"; done
  get --parallel --parallel-immediate --parallel-max 10 $(for i in $(seq 10); do echo "$v4/2k.txt?$i -o /dev/null"; done)
  wait $a $b
}
socks() {
  for i in $(seq 14); do get --socks5 10.10.0.3:1080 "$v4/tiny.txt?s$i"; done &
  local a=$!
  for i in $(seq 10); do get --socks5-hostname 10.10.0.3:1080 "http://www.test:8080/2k.txt?s$i"; done
  for i in $(seq 8); do get --socks5 10.10.0.3:1080 "$v6/tiny.txt?s$i"; done
  for i in $(seq 8); do get --proxy-user user:secret --socks5 "[fd00:10::3]:1081" "$v6/2k.txt?s$i"; done
  # SOCKS4 through ssh: what the client asked for goes on inside one encrypted connection
  for i in $(seq 6); do get --socks4 10.10.0.3:1082 "$v4/tiny.txt?s$i"; get --socks4a 10.10.0.3:1082 "http://web.test:8080/2k.txt?s$i"; done
  get --socks5 10.10.0.3:1080 $v4/24k.txt
  get --socks5 10.10.0.3:1080 https://10.10.0.1:8443/12k.txt
  get --socks5 10.10.0.3:1080 http://10.10.0.1:9/ 2>/dev/null || true # refused behind the proxy
  wait $a
}
connect() {
  for i in $(seq 10); do get --proxytunnel --proxy http://10.10.0.3:3128 "$v4/tiny.txt?c$i"; done
  for i in $(seq 8); do get --proxytunnel --proxy "http://[fd00:10::3]:3128" "$v6/2k.txt?c$i"; done
  for i in $(seq 6); do get --proxy http://10.10.0.3:3128 "https://10.10.0.1:8443/2k.txt?c$i"; done
  for i in $(seq 4); do get --proxy http://10.10.0.3:3128 "$v4/6k.txt?plain$i"; done # a plain proxy request, no tunnel
  get --proxytunnel --proxy http://10.10.0.3:3128 $v4/24k.txt
  get --proxytunnel --proxy http://10.10.0.3:3128 http://10.10.0.1:25/ 2>/dev/null || true # forbidden by the proxy
}
dns() {
  local server transport
  for server in 10.10.0.1 fd00:10::1; do
    for name in www ns proxy short nowhere; do
      for type in A AAAA TXT; do on client dig +tries=1 +time=2 @$server $name.test $type >/dev/null; done
    done
    for i in $(seq 15); do on client dig +tries=1 +noedns @$server "host$i.test" A >/dev/null; done
    on client dig @$server test MX >/dev/null
    on client dig @$server long.test TXT >/dev/null
    on client dig +noedns @$server long.test TXT >/dev/null # truncated answer, asked again over TCP
    for name in www ns long; do on client dig +tcp @$server $name.test ANY >/dev/null; done
  done
  on client dig -p 54 +tries=1 +time=1 @10.10.0.1 www.test A >/dev/null || true # closed port: ICMP port unreachable
}
sessions() {
  local line
  for address in 10.10.0.1 fd00:10::1; do
    { for line in date 'uname -s' 'seq 1 200' 'ls /' exit; do echo "$line"; sleep 0.15; done; } |
      on client ssh -T "${ssh_options[@]}" "root@$address" sh >/dev/null
  done
  on client ssh "${ssh_options[@]}" root@10.10.0.1 'cat >/dev/null' <"$www/48k.bin"
  for address in 10.10.0.1:7007 fd00:10::1:7008; do
    for i in $(seq 6); do
      { for line in hello "this is line $i" 'and a longer one, some sixty or seventy characters from end to end'; do echo "$line"; sleep 0.04; done; } |
        on client ncat -i 0.3s "${address%:*}" "${address##*:}" >/dev/null 2>&1 || true
    done
  done
  for port in 9 10 11 12; do on client ncat -w 1 10.10.0.1 $port </dev/null 2>/dev/null || true; on client ncat -w 1 fd00:10::1 $port </dev/null 2>/dev/null || true; done
}
datagrams() { # ADDRESS PORT SIZE…: twenty-five exchanges with the echo server
  local i size
  for i in $(seq 25); do
    { for size in "${@:3}"; do head -c "$size" /dev/zero | tr '\0' "$((i % 10))"; sleep 0.02; done; } |
      on client ncat -u -i 0.15s "$1" "$2" >/dev/null 2>&1 || true
  done
}
echo_requests() {
  on client ping -q -c 20 -i 0.1 10.10.0.1 >/dev/null
  on client ping -q -c 20 -i 0.1 fd00:10::1 >/dev/null
  on client ping -q -c 6 -i 0.1 -s 3000 10.10.0.1 >/dev/null # three fragments each way
  on client ping -q -c 6 -i 0.1 -s 3000 fd00:10::1 >/dev/null
  on proxy ping -q -c 5 -i 0.1 10.10.0.1 >/dev/null
}

jobs_started=()
for part in web socks connect dns sessions 'datagrams 10.10.0.1 7009 16 200 700' 'datagrams fd00:10::1 7010 64 1200' echo_requests; do
  $part & # split into words on purpose
  jobs_started+=($!)
done
for job in "${jobs_started[@]}"; do wait "$job"; done # a part that failed fails the recording
sleep 0.5
kill -INT $tcpdump
wait $tcpdump || true
grep -E 'captured|dropped' "$work/tcpdump.log" >&2
install -m 644 "$work/out.pcap" "$out"
ls -l "$out" >&2
