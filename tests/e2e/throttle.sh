# Throttle groups, as a console sees them: given at the start, changed and shown while it runs; what they
# hold back, and what they tell of it.
. "$(dirname "$0")/lib.sh"
need python3

cat >config.yaml <<'EOF'
- throttle-add: {name: gold, iops-total: 5000, bps-write: 50M, bps-write-max: 1G, bps-write-max-length: 2}
- throttle-add: {name: silver, parent: gold, iops-write: 4}
EOF
sluiced_start --config config.yaml --throttle name=red,iops-total=1K,iops-size=4K \
    --node driver=memory,name=m,size=64M \
    --node driver=throttle,name=t,child=m,throttle-group=red \
    --backend name=vd0,node=m,throttle=silver --backend name=vd1,node=t
last() {
    sluice --json status | python3 -c 'import json, sys; print(json.load(sys.stdin)["sequence"])'
}
# shown GROUP KEY: the value in what is shown of the group.
shown() {
    sluice throttle show "$1" | sed -n "s/^$2: *//p"
}

# Lists are for people, or for programs.
says '^gold ' sluice throttle list
says '^silver  *gold ' sluice throttle list
equal "$(shown gold iops-total)" 5000
equal "$(shown gold bps-write)" '50 MiB'
equal "$(shown gold bps-write-max-length)" 2
equal "$(shown gold children)" silver
equal "$(shown gold iops-read)" ''
equal "$(shown red iops-total)" 1024
equal "$(shown red iops-size)" '4 KiB'
says "^backend 'vd0'" sluice throttle show silver
says "^node 't'" sluice throttle show red
says 'throttle: *silver$' sluice backend show vd0
says 'throttle: *red$' sluice node show t
says '' sluice --json throttle show gold
python3 - <<'EOF'
import json
gold = json.load(open("out"))
assert gold["bps_write"] == 50 << 20 and gold["iops_read"] == 0, gold
EOF

# Changes; what is left out stays, and what is wrong changes nothing.
before=$(last)
says '' sluice throttle set gold iops-total=2K iops-total-max=10K
says 'THROTTLE_CHANGED .*group gold, iops-total 2048, iops-total-max 10240, bps-write 50 MiB, bps-write-max 1 GiB' \
    sluice events --since $((before + 1)) --count 1
equal "$(shown gold iops-total)" 2048
equal "$(shown gold bps-write)" '50 MiB'
fails 1 "can't be limited together" sluice throttle set gold iops-read=5
fails 1 "less than iops-total" sluice throttle set gold iops-total-max=3
fails 1 "a limit is 0 (none) to 10^15" sluice throttle add blue bps-read=-1
fails 2 'whole number' sluice throttle add blue bps-read=fast
fails 1 'nothing to set was named' sluice throttle set gold
fails 1 "there is no throttle group 'blue'" sluice backend set vd0 throttle=blue
fails 1 "there is no throttle group 'blue'" \
    sluice node add driver=throttle name=t2 child=m throttle-group=blue
equal "$(shown gold iops-total-max)" 10240

# Who is in one keeps it.
fails 1 "throttle group 'silver' is in it" sluice throttle remove gold
fails 1 "backend 'vd0' is in it" sluice throttle remove silver
fails 1 "node 't' is in it" sluice throttle remove red

# Four writes in a second: the first goes at once, the others wait their turn; it is told. A read does not.
before=$(last)
started_at=$(date +%s%N)
for i in 1 2 3 4; do
    sluice io write vd0 "offset=${i}M" bytes=512 pattern=1 >/dev/null &
    writers="${writers-} $!"
done
says '' sluice io read vd0 bytes=512
for writer in $writers; do
    wait "$writer"
done
took=$((($(date +%s%N) - started_at) / 1000000))
[ "$took" -ge 600 ] || fail "four writes at 4 a second took $took ms"
says 'THROTTLE_BEGIN .*group silver, waiting [1-3]$' sluice events --since $((before + 1)) --count 9
equal "$(grep -c 'group silver' out)" 1

# To another group, and out of it: then they are gone.
says '' sluice backend set vd0 throttle=gold
says '' sluice throttle remove silver
says '' sluice backend set vd0 throttle=
says '' sluice throttle remove gold
says '' sluice throttle add gold
says '' sluice node set t throttle-group=gold
says '' sluice throttle remove red
says '' sluice backend remove vd1
says '' sluice node remove t
says '' sluice throttle remove gold
says '^no throttle-groups$' sluice throttle list

# What is wrong at the start is told, and nothing runs.
sluiced_stop
fails 1 "there is no throttle group 'gold'" sluiced --control none --events none \
    --backend name=vd0,throttle=gold --throttle name=gold
fails 1 "iops-total and iops-read can't be limited together" sluiced --control none --events none \
    --throttle name=gold,iops-total=1,iops-read=1
fails 1 'has no field "iops-totl"' sluiced --control none --events none --throttle name=gold,iops-totl=1
