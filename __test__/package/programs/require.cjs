'use strict';

const { echo } = require('./echo.cjs');

echo(require('@actory/websocket')).then(() => console.log('echoed'));
