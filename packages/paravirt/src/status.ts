/** Exit statuses of the command line. */
export const STATUS = { OK: 0, USAGE: 2, REBOOT: 3, CRASH: 4, TIMEOUT: 5 } as const;
