// A gateway of Nest's WsAdapter on one path, a manager on another.
import { WebSocketManager } from '@actory/websocket';
import { Controller, Get, Module } from '@nestjs/common';
import { NestFactory } from '@nestjs/core';
import { WsAdapter } from '@nestjs/platform-ws';
import { WebSocketGateway } from '@nestjs/websockets';
import type { WebSocket } from 'ws';

@Controller()
class AppController {
  @Get()
  hello() {
    return 'hello';
  }
}

@WebSocketGateway({ path: '/theirs' })
class Gateway {
  handleConnection(socket: WebSocket) {
    socket.on('message', (data) => socket.send(`theirs: ${data}`));
  }
}

@Module({ controllers: [AppController], providers: [Gateway] })
class AppModule {}

const app = await NestFactory.create(AppModule, { logger: ['warn', 'error'] });
app.useWebSocketAdapter(new WsAdapter(app));
new WebSocketManager(app.getHttpServer());
await app.listen(process.env.PORT ?? 3000);
