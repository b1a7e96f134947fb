// Where components are shown. React works as in a page, without `act`: tests wait for what components tell.
import './page.mjs';
import assert from 'node:assert/strict';
import { afterEach } from 'node:test';
import { format } from 'node:util';
import { Component, createElement, useEffect } from 'react';
import { createRoot, hydrateRoot } from 'react-dom/client';
import { WebSocket } from 'ws';
import { WebSocketProvider } from '../../../react/index.mjs';
import { Inbox } from '../../client/support/inbox.mjs';
import { keep } from '../../client/support/lab.mjs';

const complaints = [];
console.error = (...parts) => complaints.push(format(...parts));
console.warn = console.error;
afterEach(() => assert.deepEqual(complaints.splice(0), []));

/** What React complained about, for tests that expect it. */
export const complained = () => complaints.splice(0);

/** A provider around components, whose client comes back soon. Its options are other objects each time. */
export const provide = (props, ...children) =>
  createElement(WebSocketProvider, { WebSocket, reconnect: { minMs: 1, maxMs: 20 }, ...props }, ...children);

/** Shows an element: `render` shows another one in its place, `unmount` ends it. */
export function show(element, html) {
  const container = document.createElement('div');
  document.body.append(container);
  const errors = [];
  const options = { onRecoverableError: (error) => errors.push(error) };
  if (html !== undefined) container.innerHTML = html;
  const root = html === undefined ? createRoot(container, options) : hydrateRoot(container, element, options);
  if (html === undefined) root.render(element);
  keep({ close: () => root.unmount() });
  return {
    container,
    /** From which React recovered, such as another text than the server's. */
    errors,
    render: (other) => root.render(other),
    unmount: () => root.unmount(),
  };
}

/** A component that calls a hook and tells of each result that is committed. It shows a text. */
export function probe(hook) {
  const results = new Inbox();
  const Probe = (props) => {
    const result = hook(props);
    useEffect(() => results.push(result));
    return typeof result === 'string' ? createElement('p', null, result) : null;
  };
  /** The next result from here on that it holds for. */
  const when = (holds) => results.find(holds);
  return { Probe, results, when };
}

/** Tells of the error of what is in it, and shows nothing then. */
export class Boundary extends Component {
  state = { failed: false };

  static getDerivedStateFromError() {
    return { failed: true };
  }

  componentDidCatch(error) {
    this.props.errors.push(error);
  }

  render() {
    return this.state.failed ? null : this.props.children;
  }
}
