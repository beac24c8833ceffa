/** What services are told. It is that of package.json. */
export const version = '0.1.0';
