# sluice-bench measures reads and writes, tells the same to people and programs, and refuses nonsense.
. "$(dirname "$0")/lib.sh"
need python3

field() { # FILE EXPRESSION over j
    python3 -c "import json, sys; j = json.load(open(sys.argv[1])); print($2)" "$1"
}

# Both kinds are measured, in the proportion asked for; everything adds up.
sluice-bench --node driver=memory,size=16M --rw randrw --rwmixread 75 --iodepth 8 --runtime 300ms --json >mix.json
[ "$(field mix.json 'j["failed"]')" = 0 ] || fail "requests failed"
[ "$(field mix.json '0.7 < j["read"]["requests"] / (j["read"]["requests"] + j["write"]["requests"]) < 0.8')" = True ] ||
    fail "the mix is not 75% reads: $(cat mix.json)"
[ "$(field mix.json '0 < j["read"]["latency_us"]["min"] <= j["read"]["latency_us"]["p50"] <= j["read"]["latency_us"]["p99"] <= j["read"]["latency_us"]["max"]')" = True ] ||
    fail "latencies are out of order: $(cat mix.json)"
[ "$(field mix.json 'abs(j["iops"] * 4096 - j["bytes_per_s"]) < 4096')" = True ] ||
    fail "bandwidth is not IOPS times block size: $(cat mix.json)"

# What it writes is on the medium.
truncate -s 4M image
sluice-bench --node driver=file,filename=image --rw write --bs 64K --iodepth 4 --runtime 200ms >table
says "write" cat table
tr -d '\0' <image | cmp -s - /dev/null && fail "the image is still all zeroes"

# The same requests from a configuration file; a live line when asked for.
cat >config.yaml <<'YAML'
- node-add: {driver: null, name: n, size: 1G}
- backend-add: {name: b, node: n}
YAML
says "IOPS" sluice-bench --config config.yaml --backend b --runtime 500ms --iodepth 1 --progress on

says "--iodepth N" sluice-bench --help
fails 2 "--bs 3x: it is a size" sluice-bench --node driver=null --bs 3x
fails 2 "--depth: there is no such option" sluice-bench --node driver=null --depth 3
fails 2 "nothing to measure" sluice-bench
fails 2 "--rw sideways" sluice-bench --node driver=null --rw sideways
fails 2 "a value is missing" sluice-bench --node
fails 1 "--node driver=nosuch" sluice-bench --node driver=nosuch
fails 1 "nowhere" sluice-bench --node driver=file,filename=/nowhere/image
fails 1 "missing.yaml" sluice-bench --config missing.yaml --backend b
fails 1 "longer than" sluice-bench --node driver=memory,size=4K --bs 8K
fails 1 "has 4096 bytes only" sluice-bench --node driver=memory,size=4K --bs 512 --size 8K
fails 1 "CPU 4000" sluice-bench --node driver=null --cpu 4000
