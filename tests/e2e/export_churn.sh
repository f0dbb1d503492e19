# Exports with ids and names of their own come and go, and leave nothing behind: no socket, no memory.
. "$(dirname "$0")/lib.sh"
sluiced_start --node driver=memory,name=m,size=1M --backend name=vd0,node=m
for n in $(seq 30); do
    says '' sluice export add type=nbd backend=vd0 id=one-$n name=name-$n unix="$WORK/nbd"
    says '' sluice export remove one-$n
done
[ ! -e "$WORK/nbd" ] || fail "the socket is left over"
says 'no exports' sluice export list
sluiced_stop # its status also says that the leak checker found nothing
