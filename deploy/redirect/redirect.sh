#!/bin/sh
# Redirects the outgoing connections of this network namespace to squall, which looks up where each was headed
# (SO_ORIGINAL_DST). Needs iptables and NET_ADMIN. A second run replaces the rules of the first.
#
#   redirect.sh [--ports 80,443] [--to 15001] [--user 15001] [--ipv6] [--remove]
#
#   --ports    the destination ports to redirect; by default HTTP, and HTTPS, which passes through unread
#   --to       the port that squall listens on, at 127.0.0.1 (and [::1])
#   --user     the user that squall runs as: its own connections are not redirected, or they would loop.
#              Nothing else in the namespace should run as this user: it would not be redirected either
#   --ipv6     IPv6 too
#   --remove   remove the rules
set -eu

ports=80,443 to=15001 user=15001 tables=iptables remove=false
usage() {
  sed -n '5,12s/^# \{0,1\}//p' "$0" >&2
  exit 2
}
while [ $# -gt 0 ]; do
  case "$1" in
    --ports) ports=${2:?"$1 needs a value"} && shift 2 ;;
    --to) to=${2:?"$1 needs a value"} && shift 2 ;;
    --user) user=${2:?"$1 needs a value"} && shift 2 ;;
    --ipv6) tables="iptables ip6tables" && shift ;;
    --remove) remove=true && shift ;;
    *) usage ;;
  esac
done

for table in $tables; do
  nat() { "$table" -w -t nat "$@"; }
  while nat -D OUTPUT -p tcp -j SQUALL 2>/dev/null; do :; done
  nat -F SQUALL 2>/dev/null && nat -X SQUALL
  [ "$remove" = false ] || continue
  nat -N SQUALL
  nat -A SQUALL -m owner --uid-owner "$user" -j RETURN
  # Local connections, such as to a database beside the application, and to docker's own name server.
  nat -A SQUALL -o lo -j RETURN
  nat -A SQUALL -p tcp -m multiport --dports "$ports" -j REDIRECT --to-ports "$to"
  nat -A OUTPUT -p tcp -j SQUALL
done
[ "$remove" = true ] && echo "connections are no longer redirected" ||
  echo "TCP connections to port $ports are redirected to squall at port $to, except those of user $user"
