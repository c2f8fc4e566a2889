/** What xen_version tells; each field has a fixed size in the guest's buffer. */
export interface VersionStrings {
  readonly major: number;
  readonly minor: number;
  /** XENVER_extraversion, 15 characters at most. */
  readonly extra: string;
  readonly compiler: string;
  readonly compileBy: string;
  readonly compileDomain: string;
  readonly compileDate: string;
  /** XENVER_capabilities. */
  readonly capabilities: string;
  readonly changeset: string;
}

/** As Debian 12's Xen 4.17.7 answers. */
export const defaultVersion: VersionStrings = {
  major: 4,
  minor: 17,
  extra: ".7",
  compiler: "x86_64-linux-gnu-gcc (Debian 12.2.0-14+deb12u1) 12.2.0",
  compileBy: "pkg-xen-devel",
  compileDomain: "lists.alioth.debian.org",
  compileDate: "Wed Nov  4 16:52:28 UTC 2026",
  capabilities: "xen-3.0-x86_64 hvm-3.0-x86_32 hvm-3.0-x86_32p hvm-3.0-x86_64 ",
  changeset: "",
};
