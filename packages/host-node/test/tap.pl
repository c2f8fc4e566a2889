# A tap device in the network namespace that this runs in, its frames on standard input and output: each behind its length
# (32 bits, big-endian) and virtio's 10-byte header, which says what of it is left to do (linux/virtio_net.h).
use strict;
my ($name, $address, $mtu, $offloads) = @ARGV;
open(my $tap, "+<", "/dev/net/tun") or die "tun: $!";
ioctl($tap, 0x400454ca, my $request = pack("a16 S x22", $name, 0x2 | 0x1000 | 0x4000)) or die "TUNSETIFF: $!"; # TAP, no PI, VNET_HDR
ioctl($tap, 0x400454d0, $offloads ? 0x1 | 0x2 : 0) or die "TUNSETOFFLOAD: $!"; # CSUM, TSO4
system("ip link set lo up; ip link set $name mtu $mtu up");
system("ip addr add $address dev $name") if $address ne "none";
system("ip route add default via 10.0.2.2") if $address =~ /^10\.0\.2\./;
binmode STDIN; binmode STDOUT;
syswrite(STDOUT, pack("N", 0));
my $input = "";
for (;;) {
  my $ready = "";
  vec($ready, fileno($tap), 1) = 1;
  vec($ready, 0, 1) = 1;
  select($ready, undef, undef, undef) > 0 or next;
  if (vec($ready, fileno($tap), 1)) {
    my $got = sysread($tap, my $frame, 70000);
    my $out = pack("N", length $frame) . $frame;
    for (my $done = 0; $done < length $out;) {
      my $put = syswrite(STDOUT, $out, length($out) - $done, $done);
      exit 0 unless $put;
      $done += $put;
    }
  }
  if (vec($ready, 0, 1)) {
    sysread(STDIN, $input, 262144, length $input) or exit 0;
    my $at = 0;
    while (length($input) - $at >= 4) {
      my $length = unpack("N", substr($input, $at, 4));
      last if length($input) - $at - 4 < $length;
      syswrite($tap, substr($input, $at + 4, $length));
      $at += 4 + $length;
    }
    $input = substr($input, $at);
  }
}
