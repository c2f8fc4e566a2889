import { RELEASE_ROOT } from "./guest-setup.ts";

// The two main shell scripts of the generated initramfs. They run under the busybox that the archive carries, with nothing
// else: no other program, no library. Forks are what costs in a guest, so whatever the shell can do itself, it does.

/**
 * `/init`, the first process. It mounts, loads modules, sets up what the guest was given (guest-setup.ts), starts
 * `/paravirt/session`, and answers the signals that `poweroff`, `reboot` and `halt` send. start-stop-daemon, since under `&` a shell's children would ignore ^C.
 */
export const INIT_SCRIPT: string = `#!/bin/busybox sh
export PATH=/sbin:/usr/sbin:/bin:/usr/bin HOME=/root TERM=linux
# Debian's busybox finds most of its own programs through /proc/self/exe, so this one goes first, by its full name.
/bin/busybox mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t devtmpfs devtmpfs /dev
mkdir -p /dev/pts
mount -t devpts devpts /dev/pts
busybox --install -s
echo paravirt >/proc/sys/kernel/hostname
while read -r module parameters; do
  insmod "/paravirt/modules/$module" $parameters
done </paravirt/modules.order
. /paravirt/setup
${RELEASE_ROOT}settle() {
  # The pipe is there in command mode only: what the command wrote last must still get through.
  [ ! -p /run/turn ] || sleep 1
  [ -z "$PARAVIRT_ROOT" ] || kill -9 -1
  release_root
}
trap 'settle; poweroff -f' USR2
trap 'settle; reboot -f' TERM
trap 'settle; halt -f' USR1
start-stop-daemon -S -b -p /run/session.pid -x /paravirt/session
while :; do
  sleep 1000000000 &
  wait $!
done
`;

const REAP = `# What the command left running would keep its streams open. Session 0 is the kernel's and /init's own.
read -r line </proc/self/stat
line=\${line##*) }
set -- $line
own=$4
for file in /proc/[0-9]*/stat; do
  read -r line <"$file" || continue
  process=\${line%% *}
  line=\${line##*) }
  set -- $line
  [ "$4" = 0 ] || [ "$4" = "$own" ] || kill -9 "$process"
done 2>/dev/null
`;

/** Where the session script finds things; a test runs it with places of its own. */
export interface SessionPlaces {
  /** The console's terminal. */
  readonly tty: string;
  /** A folder for its pipes. */
  readonly run: string;
  /** The kernel's command line. */
  readonly commandLine: string;
  /** The command, as `commandScript` writes it. */
  readonly command: string;
  /** What ends the guest. */
  readonly end: string;
  /** Whether processes that the command left running are killed. */
  readonly reap: boolean;
}

/** The places of a guest. */
export const GUEST_PLACES: SessionPlaces = {
  tty: "/dev/hvc0",
  run: "/run",
  commandLine: "/proc/cmdline",
  command: "/paravirt/command",
  end: "poweroff -f",
  reap: true,
};

/**
 * `/paravirt/session`: a shell on the console, or one command whose streams are framed on the console
 * (command-protocol.ts has the frames).
 */
export function sessionScript(places: SessionPlaces = GUEST_PLACES): string {
  return `#!/bin/busybox sh
tty=${places.tty}
run=${places.run}
mode=shell stdin=0
if read -r line <${places.commandLine}; then
  for word in $line; do
    case $word in
      paravirt.mode=*) mode=\${word#*=} ;;
      paravirt.stdin=*) stdin=\${word#*=} ;;
      paravirt.rows=*) rows=\${word#*=} ;;
      paravirt.columns=*) columns=\${word#*=} ;;
      paravirt.term=*) export TERM=\${word#*=} ;;
    esac
  done
fi
cd /root 2>/dev/null || cd /
command=${places.command} enter=sh
if [ -n "$PARAVIRT_ROOT" ] && [ "$mode" = command ]; then
  { echo 'unset PARAVIRT_ROOT; cd /root 2>/dev/null'; cat "$command"; } >"$PARAVIRT_ROOT/run/paravirt-command"
  # By its full name, or busybox takes its own shell, and that its own programs.
  command=/run/paravirt-command enter="chroot $PARAVIRT_ROOT /bin/sh"
fi
[ -n "$PARAVIRT_ROOT" ] || unset PARAVIRT_ROOT
${RELEASE_ROOT}
# A program of the host's takes over, and says how it gets its work.
if [ "$mode" = agent ]; then
  sh ${places.command}
  ${places.end}
fi
if [ "$mode" = shell ]; then
  exec <"$tty" >"$tty" 2>&1
  stty sane
  [ -z "$rows" ] || stty rows "$rows" columns "$columns"
  echo "BusyBox shell on $(uname -sr). 'poweroff' or the end of the shell stops the guest."
  # A command that is there carries variables and a folder for the shell.
  if [ -f "$command" ]; then setsid -c sh "$command"; else setsid -c sh -i; fi
  ${places.end}
fi

exec 9<>"$tty"
stty raw -echo <&9

# Frames of two streams share one terminal: whoever holds the one line in this pipe may write.
mkfifo "$run/turn" "$run/out" "$run/err" "$run/in"
exec 8<>"$run/turn"
echo >&8

# Copies standard input to the terminal in frames of type $1. dd takes what one read gives, so nothing waits.
relay() {
  while dd bs=32768 count=1 of="$run/$1" 2>/dev/null && [ -s "$run/$1" ]; do
    size=$(stat -c %s "$run/$1")
    read -r turn <&8
    printf '\\036%s%s\\n' "$1" "$size" >&9
    dd bs=32768 if="$run/$1" >&9 2>/dev/null
    echo >&8
  done
}
# Copies framed input from the terminal: a line with a size, then as many bytes; size 0 ends it.
feed() {
  while read -r size <&9 && [ "\${size:-0}" -gt 0 ]; do
    dd bs="$size" count=1 iflag=fullblock <&9 2>/dev/null || break
  done
}

# Both ends of each pipe are opened here, where nothing waits: an open that waits for the other end fails when a signal
# comes, a child's end say. 3 and 4 read what the command writes to 5 and 6. Children close what isn't theirs by exec:
# a redirection of a function's call would keep copies.
exec 7<>"$run/out" 3<"$run/out" 5>"$run/out"
exec 7<>"$run/err" 4<"$run/err" 6>"$run/err" 7>&-
printf '\\036s1\\n1' >&9
(exec <&3 3<&- 4<&- 5>&- 6>&-; relay o) & out=$!
(exec <&4 3<&- 4<&- 5>&- 6>&-; relay e) & err=$!
if [ "$stdin" = 1 ]; then
  exec 7<>"$run/in" 3<"$run/in" 4>"$run/in" 7>&-
  (exec >&4 3<&- 4>&- 5>&- 6>&-; feed) &
else
  exec 3</dev/null
fi
exec 4>&-
(exec <&3 >&5 2>&6 3<&- 5>&- 6>&- 8>&- 9>&-; exec setsid $enter "$command")
status=$?
exec 3<&- 5>&- 6>&-

${places.reap ? REAP : ""}wait $out $err
release_root
printf '\\036x%s\\n%s' "\${#status}" "$status" >&9
# stty waits until the terminal has sent everything.
stty raw <&9
${places.end}
`;
}
