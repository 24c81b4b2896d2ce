/** What lies beside the page; scripts/live.py writes it anew where it puts the models and the engine. */
export const MANIFEST = { engine: null, models: {} };
