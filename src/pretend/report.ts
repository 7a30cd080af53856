export type PretendStage = 'dhcp' | 'tftp' | 'nbd';

/** Says what happens, as it happens. */
export type Report = (stage: PretendStage, text: string) => void;
