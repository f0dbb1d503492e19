# A configuration file holds the requests that the options hold; what is wrong is told with its line.
. "$SOURCE/tests/e2e/lib-daemon.sh"

truncate -s 1M "$dir/a,b.img"
cat >"$dir/disk.yaml" <<YAML
# one disk
- node-add:
    driver: file
    name: disk
    filename: "$dir/a,b.img"
- backend-add: {name: vd0, node: disk, read-only: yes}
YAML
cat >"$dir/disk.json" <<JSON
{"requests": [
  {"node-add": {"driver": "file", "name": "disk", "filename": "$dir/a,b.img"}},
  {"backend_add": {"name": "vd0", "node": "disk", "read_only": true}}
]}
JSON

for file in "$dir/disk.yaml" "$dir/disk.json"; do
    start --config "$file"
    says '^vd0  *disk  *1 MiB  *on' sluice backend list
    says "filename=$dir/a,b.img" sluice node list
    fails 1 'read-only' sluice io write vd0 data=x
    stop
    equal "$status" 0
done

# The same in options, a comma doubled; before and after a file, in the order given.
echo '- backend-add: {name: vd0, node: disk}' >"$dir/backend.yaml"
start --node "driver=file,name=disk,filename=$dir/a,,b.img" --config "$dir/backend.yaml" \
    --export "type=nbd,backend=vd0,unix=$dir/nbd"
says '^vd0 ' sluice export list
echo "$ready" | grep -q "^sluiced ready: control=$control events=$events export=nbd+unix://.*$dir/nbd" ||
    die "the ready line is: $ready"
stop
equal "$status" 0
[ ! -e "$dir/nbd" ] || die "the export's socket is left over"

refused() {
    wanted=$1
    shift
    fails 1 "$wanted" "$sluiced" --control none --events none "$@"
}
refused 'node "disk"\|disk' --config "$dir/backend.yaml"
refused 'backend.yaml: line 1' --config "$dir/backend.yaml"
refused 'nowhere.yaml: No such file' --config "$dir/nowhere.yaml"
refused 'a folder, not a file' --config "$dir"
printf -- '- node-add: {driver: null, name: n}\n- node-ad: {}\n' >"$dir/bad"
refused 'bad: line 2: the request "node-ad" is unknown' --config "$dir/bad"
printf -- '- node-add: {driver: null, name: n, name: m}\n' >"$dir/bad"
refused 'bad: line 1: name is given twice' --config "$dir/bad"
printf -- '- node-add: [\n' >"$dir/bad"
refused 'bad: line [12]: ' --config "$dir/bad"
head -c 100000 /dev/urandom >"$dir/bad"
refused 'bad: line 1: ' --config "$dir/bad"
refused '\-\-node driver=null: node-add needs name' --node driver=null
refused 'driver=nonsense,name=n: ' --node driver=nonsense,name=n
refused "there is no file '/nowhere/x'" --node driver=file,name=n,filename=/nowhere/x
refused 'threads is "0", but must be 1 to' --threads 0
refused 'this is no option' nonsense
refused 'unrecognized option' --nonsense
