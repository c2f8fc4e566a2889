/** What xen_version tells; each field has a fixed size in the guest's buffer. */
export interface VersionStrings {
  /** 4 of 4.17. */
  readonly major: number;
  /** 17 of 4.17. */
  readonly minor: number;
  /** XENVER_extraversion, 15 characters at most. */
  readonly extra: string;
  /** At most 63 characters. */
  readonly compiler: string;
  /** At most 15 characters. */
  readonly compileBy: string;
  /** At most 31 characters. */
  readonly compileDomain: string;
  /** At most 31 characters. */
  readonly compileDate: string;
  /** XENVER_capabilities. */
  readonly capabilities: string;
  /** At most 63 characters. */
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
