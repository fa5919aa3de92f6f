#!/bin/sh
# Does a trial call lost what a server has not come to yet? sockjs-tornado with batches on PyPy is offered more than it
# can carry, by two versions of sockload in turn, each time started anew.
#
#   BEFORE=folder AFTER=folder sh stall.sh    # each with a sockload; in the root of the repository, after make peers
here=$(cd "$(dirname "$0")" && pwd)
cd benchmarks/peers/sockjs-tornado || exit 1
for i in 1 2 3 4 5; do
	for version in before after; do
		case $version in before) bin=$BEFORE ;; *) bin=$AFTER ;; esac
		taskset -c 0 site/pypy server.py 127.0.0.1 19090 flush-batched >/dev/null 2>&1 &
		server=$!
		sleep 3
		to="--target ws://127.0.0.1:19090/broadcast --protocol sockjs --cpus 1 --server-pid $server --json"
		$bin/sockload trial $to --connections 100 --rate 30000 >/dev/null 2>&1
		$bin/sockload trial $to --connections 2000 --rate 1600000 >>"$here/$version.jsonl" 2>/dev/null
		kill $server
		wait $server 2>/dev/null
	done
done
