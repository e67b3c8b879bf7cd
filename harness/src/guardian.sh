# Cleans up after a stack, however its owner ended.
#
#   sh -c "$(cat guardian.sh)" seaworthy-guardian FOLDER ID
#
# The owner keeps our standard input open. When it closes, by an orderly stop, a panic or kill -9, we end every
# process that runs in the stack's folder, remove its containers, mounts and files, and go. Lines on standard input:
#
#   pid N          a process to end, for systems on which we can't ask who runs in a folder
#   docker on      the stack has containers, labelled seaworthy.stack=ID
#   drop NAME URL  a database to drop on an external server
#   remove PATH    a file or folder to remove
#   orderly        the owner stops by itself: nothing is being started behind our back

trap '' HUP INT QUIT TERM PIPE
folder=$1 id=$2
mkdir -m 0711 -- "$folder" || exit 1
echo ready

pids='' docker='' orderly='' removals='' databases=''
newline='
'
while read -r word rest; do
    case $word in
    pid) pids="$pids $rest" ;;
    docker) docker=on ;;
    drop) databases="$databases$rest$newline" ;;
    remove) removals="$removals$rest$newline" ;;
    orderly) orderly=yes ;;
    esac
done

processes() {
    if [ -e /proc/self/cwd ]; then
        ls -ld /proc/[0-9]*/cwd 2>/dev/null | sed -n "s|.*/proc/\([0-9]*\)/cwd -> $folder\(/.*\)\{0,1\}\$|\1|p"
    else
        ps -axo pid=,command= | grep -F -- "$folder" | grep -v -e grep -e seaworthy-guardian | awk '{print $1}'
        for pid in $pids; do kill -0 "$pid" 2>/dev/null && echo "$pid"; done
    fi
}

containers() {
    [ -n "$docker" ] && docker ps -aq --filter "label=seaworthy.stack=$id" 2>/dev/null
}

# A process or container may have been on its way when the owner died, so look until there has been nothing for a
# while, which for a daemon that is busy making a container is seconds; never for more than about nine seconds.
quiet=0 round=0
if [ -n "$orderly" ]; then enough=1; elif [ -n "$docker" ]; then enough=50; else enough=4; fi
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

printf '%s' "$databases" | while read -r name url; do
    psql -d "$url" -qc "drop database if exists \"$name\" with (force)" >/dev/null 2>&1
done
printf '%s' "$removals" | while read -r path; do rm -rf -- "$path"; done
rm -rf -- "$folder"
