// The versions that may run beside this one, by commit: tags may not travel with a clone. CONTRIBUTING.md says when one is added.
export const VERSIONS = [
  { name: '0.1', hash: '25303e4f8b2d790af1bc86f54a87e5ae8bcf584d' },
  { name: 'the last version before history', hash: 'c5ad2f3c08f41f7ce0a67d5d7a64bf400339e43f' },
];
