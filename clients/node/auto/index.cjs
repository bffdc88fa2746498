// Makes the SDK's option `bridgeServerUrl` work: require this, and nothing else has to be written.
'use strict';
require('../dist/cjs/index.js').connectInstancesOf(require('@pocketping/sdk-node'));
