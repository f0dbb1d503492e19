# A configuration file holds the requests that the options hold; what is wrong is told with its line.
. "$(dirname "$0")/lib.sh"

truncate -s 1M "$WORK/a,b.img"
cat >disk.yaml <<YAML
# one disk
- node-add:
    driver: file
    name: disk
    filename: "$WORK/a,b.img"
- backend-add: {name: vd0, node: disk, read-only: yes}
YAML
cat >disk.json <<JSON
{"requests": [
  {"node-add": {"driver": "file", "name": "disk", "filename": "$WORK/a,b.img"}},
  {"backend_add": {"name": "vd0", "node": "disk", "read_only": true}}
]}
JSON

for file in disk.yaml disk.json; do
    sluiced_start --config "$file"
    says '^vd0  *disk  *1 MiB  *on' sluice backend list
    says "filename=$WORK/a,b.img" sluice node show disk
    fails 1 'read-only' sluice io write vd0 data=x
    sluiced_stop
done

# The same in options, a comma doubled; before and after a file, in the order given.
echo '- backend-add: {name: vd0, node: disk}' >backend.yaml
sluiced_start --node "driver=file,name=disk,filename=$WORK/a,,b.img" --config backend.yaml \
    --export "type=nbd,backend=vd0,unix=$WORK/nbd"
says '^vd0 ' sluice export list
says "^sluiced ready: control=ipc://$WORK/control.sock events=ipc://$WORK/events.sock export=nbd+unix://.*$WORK/nbd" \
    cat sluiced.out
sluiced_stop
[ ! -e nbd ] || fail "the export's socket is left over"

refused() {
    wanted=$1
    shift
    fails 1 "$wanted" sluiced --control none --events none "$@"
}
refused 'node "disk"\|disk' --config backend.yaml
refused 'backend.yaml: line 1' --config backend.yaml
refused 'nowhere.yaml: No such file' --config nowhere.yaml
refused 'a folder, not a file' --config "$WORK"
printf -- '- node-add: {driver: null, name: n}\n- node-ad: {}\n' >bad
refused 'bad: line 2: the request "node-ad" is unknown' --config bad
printf -- '- node-add: {driver: null, name: n, name: m}\n' >bad
refused 'bad: line 1: name is given twice' --config bad
printf -- '- node-add: [\n' >bad
refused 'bad: line [12]: ' --config bad
head -c 100000 /dev/urandom >bad
refused 'bad: line 1: ' --config bad
refused '\-\-node driver=null: node-add needs name' --node driver=null
refused 'driver=nonsense,name=n: ' --node driver=nonsense,name=n
refused "there is no file '/nowhere/x'" --node driver=file,name=n,filename=/nowhere/x
refused 'threads is "0", but must be 1 to' --threads 0
refused 'this is no option' nonsense
refused 'unrecognized option' --nonsense
