// Which room may import which: each row imports from rows below it only (ARCHITECTURE.md has the picture).
const ROWS = [
  ["core"],
  ["x86", "wasm-emit", "xen-abi", "disk", "net"],
  ["paging", "scheduler", "boot"],
  ["cpu"],
  ["xenstore"],
  ["hypervisor", "xenbus"],
  ["blkback", "console", "netback", "p9"],
  ["exec"],
  ["vmm"],
  ["host-node"],
  ["paravirt"],
];
const HOSTS = "host-node|paravirt";
const TESTS = "\\.(test|bench)\\.ts$|/(bench|conformance|test)/";

const upward = ROWS.flatMap((row, index) =>
  row.map((name) => {
    const allowed = [name, ...ROWS.slice(0, index).flat()];
    return {
      name: `no-upward-import-from-${name}`,
      comment: `${name} may import ${allowed.slice(1).join(", ") || "nothing of ours"} only`,
      severity: "error",
      from: { path: `packages/${name}/src`, pathNot: TESTS },
      to: { path: "packages/[^/]+/", pathNot: `packages/(${allowed.join("|")})/` },
    };
  }),
);

/** @type {import("dependency-cruiser").IConfiguration} */
module.exports = {
  forbidden: [
    ...upward,
    {
      name: "no-circular",
      severity: "error",
      from: { pathNot: TESTS },
      to: { circular: true, viaOnly: { dependencyTypesNot: ["type-only"] } },
    },
    { name: "not-resolvable", severity: "error", from: {}, to: { couldNotResolve: true } },
    {
      name: "no-node-in-libraries",
      comment: "only the hosts and the command line touch the outside",
      severity: "error",
      from: { path: "packages/[^/]+/src", pathNot: `packages/(${HOSTS})/|${TESTS}` },
      to: { dependencyTypes: ["core"] },
    },
    {
      name: "no-foreign-packages-in-libraries",
      severity: "error",
      from: { path: "packages/[^/]+/src", pathNot: TESTS },
      to: {
        dependencyTypes: ["npm", "npm-dev", "npm-optional", "npm-peer"],
        path: "node_modules",
        pathNot: "packages/",
      },
    },
  ],
  options: {
    doNotFollow: { path: "node_modules" },
    exclude: { path: "/dist/" },
    tsPreCompilationDeps: true,
    tsConfig: { fileName: "tsconfig.base.json" },
    enhancedResolveOptions: {
      exportsFields: ["exports"],
      conditionNames: ["@paravirt/source", "import", "default"],
      extensions: [".ts", ".js", ".json"],
    },
  },
};
