// Makes the SDK's option `bridgeServerUrl` work: import this, and nothing else has to be written.
import * as sdk from '@pocketping/sdk-node';
import { connectInstancesOf } from '../dist/esm/index.js';

connectInstancesOf(sdk);
