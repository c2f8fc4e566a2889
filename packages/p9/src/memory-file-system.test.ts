import { expect, test } from "vitest";
import { TestClient } from "../test/client.ts";
import { fileSystemContract } from "../test/contract.ts";
import { createMemoryFileSystem } from "./memory-file-system.ts";
import { createP9Server } from "./server.ts";

const now = (): bigint => BigInt(Date.now()) * 1_000_000n;

fileSystemContract("memory", () => ({
  fileSystem: createMemoryFileSystem({ now }),
  owners: true,
  specials: true,
  extended: true,
  close() {},
}));

test("a program and a guest see the same files", async () => {
  const fileSystem = createMemoryFileSystem({ now });
  fileSystem.writeFile("/etc/motd", new TextEncoder().encode("hello"), { mode: 0o600 });
  const connection = createP9Server({ fileSystem }).connect({ maxMessage: 8192 });
  const client = await TestClient.attached(connection);
  await client.open(1, "etc/motd", 2);
  expect(new TextDecoder().decode(await client.read(1))).toBe("hello");
  await client.write(1, "J");
  await client.create(2, "/etc", "new");
  expect(new TextDecoder().decode(fileSystem.readFile("/etc/motd"))).toBe("Jello");
  expect(fileSystem.listFolder("/etc")).toEqual(["motd", "new"]);
  fileSystem.writeFile("/etc/motd", new Uint8Array(2));
  expect(await client.read(1)).toEqual(new Uint8Array(2));
  await connection.close();
  expect(() => fileSystem.readFile("/etc")).toThrow(expect.objectContaining({ code: "EISDIR" }));
  expect(() => fileSystem.readFile("/nothing")).toThrow(expect.objectContaining({ code: "ENOENT" }));
  expect(() => fileSystem.writeFile("x", new Uint8Array(0))).toThrow(expect.objectContaining({ code: "EINVAL" }));
});

test("a guest can't take more memory than there is for it, and what it removes is free again", async () => {
  const fileSystem = createMemoryFileSystem({ now, maxBytes: 1 << 20 });
  const empty = fileSystem.usedBytes;
  const connection = createP9Server({ fileSystem }).connect({ maxMessage: 1 << 18 });
  const client = await TestClient.attached(connection, 1 << 18);
  await client.create(1, "/", "big");
  let written = 0;
  for (;;) {
    const data = new Uint8Array(100_000);
    const answer = await client.send("Twrite", { fid: 1, offset: BigInt(written), data }).answer;
    if (answer.name !== "Rwrite") break;
    written += answer.fields.count;
  }
  expect(written).toBeGreaterThan(900_000);
  expect(fileSystem.usedBytes).toBeLessThanOrEqual(1 << 20);
  expect(await client.outcome("Twrite", { fid: 1, offset: 1n << 50n, data: new Uint8Array(1) })).toBe("ENOSPC");
  // Sizes cost nothing, names do.
  await client.create(2, "/", "hole");
  await client.ask("Tsetattr", { ...ZERO, fid: 2, valid: 8, size: 1n << 50n });
  let names = 0;
  while (
    (await client.outcome("Tsymlink", { dfid: 0, name: `n${names}`, target: "x".repeat(4000), gid: 0 })) !== "ENOSPC"
  )
    names++;
  expect(names).toBeLessThan(300);
  for (let index = 0; index < names; index++) await client.ask("Tunlinkat", { dirfid: 0, name: `n${index}`, flags: 0 });
  await client.ask("Tunlinkat", { dirfid: 0, name: "big", flags: 0 });
  await client.ask("Tunlinkat", { dirfid: 0, name: "hole", flags: 0 });
  await connection.close();
  expect(fileSystem.usedBytes).toBe(empty);
});

const ZERO = { mode: 0, uid: 0, gid: 0, atimeSec: 0n, atimeNsec: 0n, mtimeSec: 0n, mtimeNsec: 0n };
