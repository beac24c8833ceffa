"use strict";
Object.defineProperty(exports, "__esModule", { value: true });
exports.version = void 0;
/** What services are told. It is that of package.json. */
exports.version = '0.1.0';
