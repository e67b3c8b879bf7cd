# Cleans up after a stack, however its users ended.
#
#   sh -c "$(cat guardian.sh)" seaworthy-guardian FOLDER ID LINGER POINTER new|adopt
#
# Every user of the stack keeps FOLDER/alive, a named pipe, open for writing. When the last one has gone, by an orderly stop, a panic or
# kill -9, the kernel closes it. We stay for LINGER tenths of a second more, since the next process of a test run may be on
# its way; then we take away POINTER, by which new users find the stack, end every process that runs in the folder, remove
# its containers, mounts and files, and go. A user that comes writes a line to the pipe; the line `down` ends the stack at once.
#
# What else belongs to the stack is in FOLDER/told, line by line:
#
#   pid N            a process to end, for systems on which we can't ask who runs in a folder
#   docker on        the stack has containers, labelled seaworthy.stack=ID
#   drop PREFIX URL  the databases to drop on an external server
#   remove PATH      a file or folder to remove
#   orderly          the only user stops by itself: nothing is being started behind our back
#   keep             stay until somebody says `down`

trap '' HUP INT QUIT TERM PIPE
umask 077
folder=$1 id=$2 linger=$3 pointer=$4
if [ "$5" = new ]; then
    mkdir -m 0711 -- "$folder" || exit 1
    { : >"$folder/told" && mkfifo -- "$folder/alive"; } || { rm -rf -- "$folder"; exit 1; }
fi
# Opened for both first, since opening it for reading alone would wait for a writer.
exec 4<>"$folder/alive" 3<"$folder/alive" 4>&-
echo ready
# The first user says that it has opened the pipe, or has died.
read -r _

told() { sed -n "s|^$1 ||p" "$folder/told" 2>/dev/null; }
was_told() { grep -qx "$1" "$folder/told" 2>/dev/null; }

alone=0
while :; do
    # Waits as long as anybody has the pipe open.
    if read -r line <&3; then
        [ "$line" = down ] && break
        alone=0
    elif was_told keep; then
        sleep 0.5
    elif [ "$alone" -lt "$linger" ]; then
        alone=$((alone + 1))
        sleep 0.1
    else
        [ -n "$pointer" ] || break
        # Whoever opens the pipe looks at the pointer after that. So who came before this is seen by the next read, and who
        # comes later knows to go elsewhere.
        mv -- "$pointer" "$pointer.gone" 2>/dev/null
        read -r line <&3 || break
        mv -- "$pointer.gone" "$pointer" 2>/dev/null
        alone=0
    fi
done
[ -z "$pointer" ] || rm -f -- "$pointer" "$pointer.gone"

processes() {
    if [ -e /proc/self/cwd ]; then
        ls -ld /proc/[0-9]*/cwd 2>/dev/null | sed -n "s|.*/proc/\([0-9]*\)/cwd -> $folder\(/.*\)\{0,1\}\$|\1|p"
    else
        ps -axo pid=,command= | grep -F -- "$folder" | grep -v -e grep -e seaworthy-guardian | awk '{print $1}'
        for pid in $(told pid); do kill -0 "$pid" 2>/dev/null && echo "$pid"; done
    fi
}

containers() { docker ps -aq --filter "label=seaworthy.stack=$id" 2>/dev/null; }

# A process or container may have been on its way when its starter died, so look until there has been nothing for a
# while, which for a daemon that is busy making a container is seconds; never for more than about six seconds.
docker=''
was_told 'docker on' && docker=on
quiet=0 round=0
if was_told orderly; then enough=1; elif [ -n "$docker" ]; then enough=50; else enough=4; fi
while [ $quiet -lt $enough ] && [ $round -lt 110 ]; do
    round=$((round + 1))
    found=$(processes)
    if [ -n "$found" ]; then
        kill -KILL $found 2>/dev/null
        quiet=0
    else
        quiet=$((quiet + 1))
    fi
    if [ -n "$docker" ] && [ $((round % 10)) -eq 1 ]; then
        found=$(containers)
        if [ -n "$found" ]; then
            docker rm -fv $found >/dev/null 2>&1
            quiet=0
        fi
    fi
    [ $quiet -lt $enough ] && sleep 0.05
done

# A Postgres that was killed leaves its System V shared memory segment behind; the last line of its lock file but
# one names it.
for lock in "$folder"/*/data/postmaster.pid; do
    [ -r "$lock" ] || continue
    segment=$(sed -n '7s/^ *[0-9]\{1,\} \{1,\}\([0-9]\{1,\}\).*/\1/p' "$lock")
    [ -n "$segment" ] && ipcrm -m "$segment" 2>/dev/null
done

if [ -r /proc/mounts ]; then
    sed -n "s|^[^ ]* \($folder[^ ]*\) .*|\1|p" /proc/mounts | sort -r | while read -r mount; do
        umount "$mount" 2>/dev/null || umount -l "$mount" 2>/dev/null
    done
fi

told drop | while read -r prefix url; do
    psql -d "$url" -Atqc "select format('drop database %I with (force)', datname) from pg_database where starts_with(datname, '$prefix')" 2>/dev/null |
        while read -r statement; do psql -d "$url" -qc "$statement" >/dev/null 2>&1; done
done
told remove | while read -r path; do rm -rf -- "$path"; done
rm -rf -- "$folder"
