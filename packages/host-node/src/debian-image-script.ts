/** What {@link customizeScript} writes into a system. */
export interface CustomizeOptions {
  readonly hostname: string;
  /** UUID of the root file system. */
  readonly uuid: string;
}

/**
 * The shell code that makes a freshly installed Debian one that boots as a guest. `$1` is its folder; it runs with that
 * system's root rights, on this machine.
 */
export function customizeScript({ hostname, uuid }: CustomizeOptions): string {
  return `set -e
root=$1
echo ${hostname} >"$root/etc/hostname"
printf '127.0.0.1 localhost\\n127.0.1.1 ${hostname}\\n::1 localhost ip6-localhost ip6-loopback\\n' >"$root/etc/hosts"
printf 'UUID=${uuid} / ext4 errors=remount-ro 0 1\\n' >"$root/etc/fstab"
# An empty file gets an id at the first boot, without the questions that a missing one brings.
# Debian's is read-only, for its owner too when that isn't root.
rm -f "$root/etc/machine-id"
: >"$root/etc/machine-id"
chroot "$root" passwd -d root >&2
printf '[Match]\\nType=ether\\n\\n[Network]\\nDHCP=yes\\n' >"$root/etc/systemd/network/80-ethernet.network"
chroot "$root" systemctl enable systemd-networkd systemd-resolved >&2
# Without a network nothing comes online, and nothing should wait for it.
chroot "$root" systemctl disable systemd-networkd-wait-online >&2
# There is no screen to log in at, and no volume manager whose snapshots would want checking.
chroot "$root" systemctl disable getty@tty1 e2scrub_reap >&2
chroot "$root" systemctl mask e2scrub_all.timer >&2
# An emulated processor may take longer than a real one.
mkdir -p "$root/etc/systemd/system.conf.d"
printf '[Manager]\nDefaultTimeoutStartSec=10min\nDefaultDeviceTimeoutSec=10min\n' >"$root/etc/systemd/system.conf.d/paravirt.conf"
ln -sf ../run/systemd/resolve/stub-resolv.conf "$root/etc/resolv.conf"
rm -f "$root/etc/apt/apt.conf.d/99mmdebstrap"
`;
}
