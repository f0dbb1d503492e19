# The daemon tells its supervisor that it is ready, and stops in order when it is told to.
. "$(dirname "$0")/lib.sh"
need python3

for signal in TERM INT HUP; do
    sluiced_start --node driver=memory,name=m,size=1M --backend name=b,node=m
    sluiced_stop $signal
    [ ! -s sluiced.err ] || fail "it complains"
done

# READY=1 comes when it is ready, not before; STOPPING=1 when it ends.
cat >notify.py <<'PY'
import os, socket, subprocess, sys
folder, daemon = sys.argv[1:]
path = folder + "/notify"
listener = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
listener.bind(path)
listener.settimeout(20)
process = subprocess.Popen([daemon, "--control", f"ipc://{folder}/c", "--events", "none"],
                           env=dict(os.environ, NOTIFY_SOCKET=path), stdout=subprocess.DEVNULL)
assert listener.recv(100) == b"READY=1"
assert os.path.exists(folder + "/c")
process.terminate()
assert listener.recv(100) == b"STOPPING=1"
assert process.wait(20) == 0
PY
python3 notify.py "$WORK" sluiced || fail "sd_notify"
