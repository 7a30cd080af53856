/** What the shell is told (sysexits.h has 78 as EX_CONFIG). */
export const ExitStatus = { Done: 0, Failed: 1, WrongUsage: 2, InventoryFaults: 78 } as const;
export type ExitStatus = (typeof ExitStatus)[keyof typeof ExitStatus];
