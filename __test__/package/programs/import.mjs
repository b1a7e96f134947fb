import * as websocket from '@actory/websocket';
import { echo } from './echo.cjs';

await echo(websocket);
console.log('echoed');
