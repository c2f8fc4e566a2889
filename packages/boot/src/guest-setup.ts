// What the generated /init does with the devices that a guest was given: networks, shared folders, a root file system.
// The kernel's command line says what there is (`guestCommandLine`); nothing runs for what isn't.

/** Where `/init` mounts a root file system that lies on a disk. */
export const ROOT_FOLDER = "/sysroot";

/**
 * `/paravirt/setup`, which `/init` reads. It leaves PARAVIRT_ROOT, the folder that is the command's root or nothing, or
 * becomes the init of a system on a disk.
 */
export const SETUP_SCRIPT: string = `export PARAVIRT_ROOT=
mode=shell net= shares= where=none root= rows= columns=
if read -r line </proc/cmdline; then
  for word in $line; do
    case $word in
      paravirt.mode=*) mode=\${word#*=} ;;
      paravirt.net=*) net="$net \${word#*=}" ;;
      paravirt.share=*) shares="$shares \${word#*=}" ;;
      paravirt.root=*) where=\${word#*=} ;;
      paravirt.rows=*) rows=\${word#*=} ;;
      paravirt.columns=*) columns=\${word#*=} ;;
    esac
  done
fi
complain() { echo "paravirt: $*" >/dev/console; }

# Mounts the disk $1 where it is a root file system, writable where the disk is.
try_root() {
  [ -b "/dev/$1" ] || return 1
  # Without the journal nothing is written to a disk that is only looked at.
  mount -t ext4 -o ro,noload "/dev/$1" ${ROOT_FOLDER} 2>/dev/null || return 1
  if [ ! -x ${ROOT_FOLDER}/sbin/init ] && [ ! -L ${ROOT_FOLDER}/sbin/init ]; then
    umount ${ROOT_FOLDER}
    return 1
  fi
  read -r fixed <"/sys/class/block/$1/ro"
  [ "$fixed" = 0 ] || { root=${ROOT_FOLDER}; return 0; }
  umount ${ROOT_FOLDER}
  mount -t ext4 "/dev/$1" ${ROOT_FOLDER} && root=${ROOT_FOLDER}
}
# The driver has told xenstore of a disk a moment before the kernel has it. Requests in another order gain nothing here.
for disk in /sys/bus/xen/devices/vbd-*; do
  [ -e "$disk" ] || break
  for turn in 1 2 3 4 5 6 7 8 9 10; do
    set -- "$disk"/block/*
    [ -e "$1" ] && break
    usleep 50000
  done
  [ ! -e "$1/queue/scheduler" ] || echo none >"$1/queue/scheduler"
done
case $where in
  none) ;;
  auto)
    for disk in /sys/class/block/xvd*; do
      try_root "\${disk##*/}" && break
    done ;;
  *)
    try_root "\${where#/dev/}" || complain "$where holds no ext4 file system with /sbin/init" ;;
esac

# What a command in that root expects to find; systemd gets the same, moved there.
if [ -n "$root" ] && [ "$mode" != shell ]; then
  mount -t proc proc $root/proc
  mount -t sysfs sysfs $root/sys
  mount --rbind /dev $root/dev
  mount -t tmpfs -o mode=755 tmpfs $root/run
  PARAVIRT_ROOT=$root
fi

for share in $shares; do
  tag=\${share%%,*}
  options=trans=xen,version=9p2000.L,cache=mmap,msize=262144
  [ "$share" = "$tag" ] || options=$options,\${share#*,}
  if ! mkdir -p "$root/mnt/$tag" 2>/dev/null; then
    mount -t tmpfs tmpfs $root/mnt && mkdir -p "$root/mnt/$tag"
  fi
  mount -t 9p -o "$options" "$tag" "$root/mnt/$tag" || complain "the shared folder $tag can't be mounted"
done

ip link set lo up
# Networks of a system that boots from a disk are its own affair.
if [ -n "$net" ] && { [ -z "$root" ] || [ "$mode" != shell ]; }; then
  for spec in $net; do
    case $spec in
      *:*) interfaces=\${spec%%:*} spec=\${spec#*:} ;;
      *) interfaces= ; for path in /sys/class/net/eth*; do interfaces="$interfaces \${path##*/}"; done ;;
    esac
    for interface in $interfaces; do
      case $spec in
        dhcp)
          udhcpc -i "$interface" -s /paravirt/dhcp -n -q -f -t 10 -T 1 >/dev/null 2>&1 ||
            complain "$interface: nobody answers DHCP" ;;
        *)
          ip addr add "\${spec%%,*}" dev "$interface"
          ip link set "$interface" up
          [ "\${spec%%,*}" = "$spec" ] || ip route add default via "\${spec#*,}" dev "$interface" ;;
      esac
    done
  done
  if [ -n "$root" ] && [ -e /etc/resolv.conf ]; then
    # Often a link to what a daemon would make in /run.
    target=$(readlink $root/etc/resolv.conf)
    case $target in
      ../run/*) target=$root/\${target#../} ;;
      /run/*) target=$root$target ;;
      *) target= ;;
    esac
    if [ -n "$target" ]; then
      mkdir -p "\${target%/*}"
      cp /etc/resolv.conf "$target"
    elif [ -e $root/etc/resolv.conf ]; then
      mount --bind /etc/resolv.conf $root/etc/resolv.conf
    else
      cp /etc/resolv.conf $root/etc/resolv.conf
    fi
  fi
fi

if [ -n "$root" ] && [ "$mode" = shell ]; then
  [ -z "$rows" ] || stty rows "$rows" columns "$columns" </dev/hvc0
  for folder in proc sys dev; do
    mount --move /$folder $root/$folder
  done
  if [ -d /run/paravirt ]; then
    # The host's agent becomes a service of that system, which leaves a /run that it finds as it is.
    mount -t tmpfs -o mode=755,nosuid,nodev tmpfs $root/run
    mkdir -p $root/run/systemd/system/multi-user.target.wants
    cp -a /run/paravirt $root/run/paravirt
    cp /run/paravirt/paravirt-agent.service $root/run/systemd/system/
    ln -s ../paravirt-agent.service $root/run/systemd/system/multi-user.target.wants/
  fi
  exec switch_root $root /sbin/init
fi
`;

/** `/paravirt/dhcp`: what udhcpc runs when it has, or loses, an address. */
export const DHCP_SCRIPT: string = `#!/bin/busybox sh
case $1 in
  deconfig) ifconfig "$interface" 0.0.0.0 up ;;
  bound | renew)
    ifconfig "$interface" "$ip" netmask "\${subnet:-255.255.255.0}" \${mtu:+mtu "$mtu"}
    for address in $router; do
      route add default gw "$address" dev "$interface" && break
    done
    if [ -n "$dns" ]; then
      [ -z "$domain" ] || echo "search $domain"
      for address in $dns; do
        echo "nameserver $address"
      done
    fi >/etc/resolv.conf ;;
esac
`;

/** Shell function that unmounts what is at and below PARAVIRT_ROOT; nothing may run in it any more. */
export const RELEASE_ROOT: string = `release_root() {
  [ -n "$PARAVIRT_ROOT" ] || return 0
  mounts=
  while read -r device path rest; do
    case $path in
      "$PARAVIRT_ROOT" | "$PARAVIRT_ROOT"/*) mounts="$path $mounts" ;;
    esac
  done </proc/mounts
  umount $mounts
}
`;
