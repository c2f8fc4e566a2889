import { type Disk, ParavirtError } from "@paravirt/core";
import { VDISK, XENBUS_STATE } from "@paravirt/xen-abi";
import {
  createXenbusBackend,
  type Device,
  type DeviceContext,
  type XenbusBackend,
  type XenbusEnd,
} from "@paravirt/xenbus";
import { blockDeviceNumber } from "./device-number.ts";
import { type BlockExecutor, createBlockExecutor } from "./execute.ts";
import { readFrontendNodes } from "./frontend-nodes.ts";
import { type BlockQueue, openBlockQueue } from "./queue.ts";
import { MAX_INDIRECT_SEGMENTS } from "./request.ts";

/** How a guest gets a disk. */
export interface BlkbackOptions {
  /** What it reads and writes; may be left out for a CD-ROM drive, which is empty then. The caller closes it. */
  readonly disk?: Disk;
  /** The name of the device: `xvda`, `xvdb`, … (`xvda`). */
  readonly name?: string;
  /** `cdrom` shows the guest a read-only drive whose medium can be changed (`disk`). */
  readonly media?: "disk" | "cdrom";
  /** What `params` in xenstore says about where the data are, for people who look ("memory"). */
  readonly description?: string;
  /** Most rings that a frontend may use, 1 to 16 (4). */
  readonly maxQueues?: number;
  /** Pages of a ring as a power of two, 0 to 4 (4: 512 requests). */
  readonly maxRingPageOrder?: number;
  /** Most segments, which are pages at most, of one indirect request: 0 for no such requests, up to 4096 (256). */
  readonly maxIndirectSegments?: number;
  /**
   * Most pages of each ring that stay mapped for a frontend that uses the same grants again; 0 offers it no such thing.
   * Linux's frontend then copies all data into pages of its own, which costs more than mapping does here (0).
   */
  readonly maxPersistentGrants?: number;
}

/** A guest's disk, ready for a domain: a {@link @paravirt/xenbus!Device} of type `vbd`. */
export interface Blkback extends Device {
  /**
   * Changes a CD-ROM's medium, or takes it out; resolves when nothing is under way on the old one, which the caller may
   * close then. The guest sees the new size. Throws `UNSUPPORTED` for a disk.
   */
  changeMedium(disk: Disk | undefined): Promise<void>;
}

/** Makes a block device that serves `disk` to one guest. Throws `BAD_ARGUMENT` for options out of their limits. */
export function createBlkback(options: BlkbackOptions): Blkback {
  return new Vbd(options);
}

interface Settings {
  readonly maxQueues: number;
  readonly maxRingPageOrder: number;
  readonly maxIndirectSegments: number;
  readonly maxPersistentGrants: number;
}

const NO_DISK = { sectors: 0, sectorSize: 512, readOnly: true } as const;

class Vbd implements Blkback {
  readonly type = "vbd";
  readonly id: number;
  readonly frontend: Readonly<Record<string, string>>;
  readonly backend: Readonly<Record<string, string>>;
  readonly #settings: Settings;
  readonly #cdrom: boolean;
  #executor: BlockExecutor;
  #unlisten: (() => void) | undefined;
  /** Tells the guest of a new size; there while a backend runs. */
  #announce: (() => void) | undefined;

  constructor(options: BlkbackOptions) {
    const name = options.name ?? "xvda";
    this.id = blockDeviceNumber(name);
    this.#settings = {
      maxQueues: within(options.maxQueues ?? 4, 1, 16, "maxQueues"),
      maxRingPageOrder: within(options.maxRingPageOrder ?? 4, 0, 4, "maxRingPageOrder"),
      maxIndirectSegments: within(options.maxIndirectSegments ?? 256, 0, MAX_INDIRECT_SEGMENTS, "maxIndirectSegments"),
      maxPersistentGrants: within(options.maxPersistentGrants ?? 0, 0, 65536, "maxPersistentGrants"),
    };
    this.#cdrom = options.media === "cdrom";
    const { disk } = options;
    if (disk === undefined && !this.#cdrom) throw new ParavirtError("BAD_ARGUMENT", `${name} has no disk`);
    this.#executor = createBlockExecutor(this.#cdrom ? readOnlyView(disk) : disk);
    const kind = this.#cdrom ? "cdrom" : "disk";
    this.frontend = { "virtual-device": String(this.id), "device-type": kind };
    this.backend = {
      params: options.description ?? "memory",
      removable: this.#cdrom ? "1" : "0",
      bootable: "1",
      dev: name,
      type: "file",
      mode: this.#readOnly ? "r" : "w",
      "device-type": kind,
      "discard-enable": this.#discards ? "1" : "0",
    };
  }

  get #shape(): Pick<Disk, "sectors" | "sectorSize" | "readOnly"> {
    return this.#executor.disk ?? NO_DISK;
  }

  get #readOnly(): boolean {
    return this.#cdrom || this.#shape.readOnly;
  }

  get #discards(): boolean {
    return !this.#readOnly && this.#executor.disk?.discard !== undefined;
  }

  async changeMedium(disk: Disk | undefined): Promise<void> {
    if (!this.#cdrom) throw new ParavirtError("UNSUPPORTED", `${this.backend.dev} isn't a CD-ROM drive`);
    const before = this.#executor;
    this.#executor = createBlockExecutor(readOnlyView(disk));
    if (this.#announce !== undefined) {
      this.#listen();
      this.#announce();
    }
    await before.idle();
  }

  /** What a guest may know before it connects. */
  #offer(): Record<string, string> {
    const { maxQueues, maxRingPageOrder, maxIndirectSegments, maxPersistentGrants } = this.#settings;
    const { sectorSize = 512 } = this.#shape;
    return {
      ...(maxIndirectSegments > 0 ? { "feature-max-indirect-segments": String(maxIndirectSegments) } : {}),
      "multi-queue-max-queues": String(maxQueues),
      "max-ring-page-order": String(maxRingPageOrder),
      "max-ring-pages": String(2 ** maxRingPageOrder),
      "feature-flush-cache": "1",
      "feature-barrier": "1",
      "feature-persistent": maxPersistentGrants > 0 ? "1" : "0",
      "feature-discard": this.#discards ? "1" : "0",
      ...(this.#discards
        ? { "discard-granularity": String(sectorSize), "discard-alignment": "0", "discard-secure": "0" }
        : {}),
    };
  }

  /** What a guest reads once connected. `sectors` counts 512 bytes whatever `sector-size` says, as Linux has it. */
  #properties(): Record<string, string> {
    const { sectors, sectorSize = 512 } = this.#shape;
    const info = (this.#cdrom ? VDISK.CDROM | VDISK.REMOVABLE : 0) | (this.#readOnly ? VDISK.READONLY : 0);
    return {
      sectors: String(sectors),
      info: String(info),
      "sector-size": String(sectorSize),
      "physical-sector-size": String(sectorSize),
    };
  }

  /** Follows the size of the disk that there is now. */
  #listen(): void {
    this.#unlisten?.();
    this.#unlisten = this.#executor.disk?.onResize?.(() => this.#announce?.());
  }

  async start({ guest, store, path, onError }: DeviceContext): Promise<XenbusBackend> {
    if (this.#announce !== undefined) throw new ParavirtError("BUSY", `${this.backend.dev} serves another domain`);
    let queues: BlockQueue[] = [];
    let connected = false;
    const closeAll = async (): Promise<void> => {
      await Promise.all(queues.splice(0).map((queue) => queue.close()));
    };
    // A broken ring ends the device: no guest can make it work again but by coming anew.
    const fail = (end: XenbusEnd, reason: string): void => {
      for (const queue of queues) void queue.close();
      end.fail(reason).catch(onError);
      onError(new Error(reason));
    };
    this.#announce = () => {
      if (!connected) return;
      store
        .transaction(async (nodes) => {
          const state = await nodes.read(`${path}/state`);
          await nodes.write(`${path}/sectors`, this.#properties().sectors!);
          // Written as it is: the state is what the frontend watches, and it reads the size then.
          if (state === String(XENBUS_STATE.Connected)) await nodes.write(`${path}/state`, state);
        })
        .catch(onError);
    };
    this.#listen();
    return await createXenbusBackend({
      store,
      path,
      offer: this.#offer(),
      connect: async (end) => {
        const nodes = await readFrontendNodes(end, this.#settings);
        queues = [];
        try {
          for (const ring of nodes.queues)
            queues.push(
              openBlockQueue({
                guest,
                nodes: ring,
                protocol: nodes.protocol,
                executor: () => this.#executor,
                persistentGrants: nodes.persistent ? this.#settings.maxPersistentGrants : 0,
                maxIndirectSegments: this.#settings.maxIndirectSegments,
                onBroken: (reason) => fail(end, reason),
              }),
            );
        } catch (error) {
          await closeAll();
          throw error;
        }
        connected = true;
        return this.#properties();
      },
      disconnect: async () => {
        connected = false;
        await closeAll();
      },
      closed: async () => {
        await closeAll();
        this.#stop();
      },
      onError,
    }).catch((error: unknown) => {
      this.#stop();
      throw error;
    });
  }

  #stop(): void {
    this.#unlisten?.();
    this.#unlisten = undefined;
    this.#announce = undefined;
  }
}

/** The same medium for a drive that can't write. */
function readOnlyView(disk: Disk | undefined): Disk | undefined {
  if (disk === undefined || disk.readOnly) return disk;
  const { onResize } = disk;
  return {
    get sectors() {
      return disk.sectors;
    },
    sectorSize: disk.sectorSize ?? 512,
    readOnly: true,
    read: (sector, into) => disk.read(sector, into),
    write: (sector, from) => disk.write(sector, from),
    flush: () => disk.flush(),
    ...(onResize === undefined ? {} : { onResize: (listener: () => void) => onResize.call(disk, listener) }),
  };
}

function within(value: number, least: number, most: number, name: string): number {
  if (Number.isInteger(value) && value >= least && value <= most) return value;
  throw new ParavirtError("BAD_ARGUMENT", `${name} ${value}: a whole number from ${least} to ${most}`);
}
