# Every request gets its one reply, whatever it is and however many come; nobody is disturbed by others.
. "$(dirname "$0")/lib.sh"
sluiced_start --node driver=memory,name=m,size=1M --backend name=vd0,node=m
timeout 200 /usr/bin/python3 "$E2E/control_requests.py" "$WORK/control.sock" "$WORK" || fail "see above"
says 'bytes: *5 B' sluice io write vd0 data=hello
sluiced_stop
