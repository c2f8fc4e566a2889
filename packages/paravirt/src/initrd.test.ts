import { spawnSync } from "node:child_process";
import { existsSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, expect, test } from "vitest";
import { type GuestOptions, guestOptions } from "./guest-options.ts";
import { checkUnpacks } from "./initrd.ts";

const folder = mkdtempSync(join(tmpdir(), "paravirt-initrd-"));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

const options = (...values: string[]): GuestOptions =>
  guestOptions({ options: new Map(), lists: new Map([["initrd-add", values]]) }, 256);

test("host and guest path part at the last colon with a slash behind it", () => {
  const odd = join(folder, "a:b");
  writeFileSync(odd, "");
  expect(options("/usr", `${odd}:/c d`, odd, ".").initrdAdd).toEqual([
    { hostPath: "/usr" },
    { hostPath: odd, guestPath: "/c d" },
    { hostPath: odd },
    { hostPath: "." },
  ]);
});

test.each([
  ["no-such-file", "--initrd-add no-such-file: no-such-file doesn't exist"],
  ["/etc:x", "--initrd-add /etc:x: /etc:x doesn't exist; after a colon, a path in the guest starts with /"],
  [":/x", "--initrd-add :/x: a file or folder of this machine comes first"],
])("%s is refused", (value, message) => {
  expect(() => options(value)).toThrow(message);
});

test("an initramfs that the guest could unpack only in part is refused with the memory that it needs", () => {
  const size = (mib: number): Uint8Array => new Uint8Array(mib * 1024 * 1024);
  expect(() => checkUnpacks(size(64), options("/etc"))).not.toThrow();
  expect(() => checkUnpacks(size(65), options("/etc"))).toThrow(
    "--initrd-add makes an initramfs of 65 MiB, which needs --memory 260, not 256",
  );
});

// Real processes on the built packages: `npm test` builds them first.
const CLI = new URL("../bin/paravirt.js", import.meta.url).pathname;
const PERL = "/usr/bin/perl";
const MODULES = "/usr/lib/x86_64-linux-gnu/perl-base";
const PROGRAM = `
use POSIX qw(floor fmod strtol); use List::Util qw(sum);
my %h; $h{$_ % 17} .= chr(65 + $_ % 26) for 1 .. 2000;
print join(",", map { "$_=" . length $h{$_} } sort { $a <=> $b } keys %h), "\\n";
my $t = "the quick brown fox " x 50; my $n = () = $t =~ /\\b(\\w)(\\w*?)\\1?\\b/g; (my $u = $t) =~ s/(\\w+) (\\w+)/\\U$2\\E $1/g;
print "$n ", substr($u, 0, 40), " ", unpack("%32C*", $u), "\\n";
printf "%.17g %.10e %a %s\\n", sqrt(2) ** 31, exp(1) / 3e-5, fmod(-7.5, 2), floor(-2.5);
print sum(map { sin($_) * log($_) } 1 .. 500), " ", join("", strtol("0x7fff", 16)), "\\n";
my $pid = fork; if (!$pid) { exit 7 } waitpid($pid, 0); print "child ", $? >> 8, "\\n";
local $SIG{ALRM} = sub { print "alarm\\n" }; kill "ALRM", $$; print sprintf("%s", 1e308 * 10), " ", 0x7fffffff * 3, "\\n";
`;
test.skipIf(!existsSync(PERL))(
  existsSync(PERL) ? "perl of this machine runs in the guest as it does outside" : `no ${PERL} on this machine`,
  () => {
    const script = join(folder, "t.pl");
    writeFileSync(script, PROGRAM);
    const added = [PERL, MODULES, `${script}:/t.pl`].flatMap((file) => ["--initrd-add", file]);
    const guest = spawnSync(process.execPath, [CLI, "run", "debian", ...added, "--", "perl", "/t.pl"], {
      encoding: "utf8",
      input: "",
      timeout: 110_000,
    });
    const native = spawnSync(PERL, [script], { encoding: "utf8" });
    expect(guest.stderr).toBe("");
    expect(guest.stdout).toBe(native.stdout);
    expect(native.stdout.split("\n").length).toBe(8);
    expect(guest.status).toBe(0);
  },
);
