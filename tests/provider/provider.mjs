// An OpenID provider that Mayfly's tests sign people in at: `node provider.mjs DIRECTORY`, where DIRECTORY has
// node_modules with oidc-provider. It listens at a free port of 127.0.0.1, writes the address on a line of its own, and ends when
// its standard input does.
//
// Whoever is typed in is let in. A name with "+mfa" behind it has given a second factor.
import http from 'node:http';
import { createRequire } from 'node:module';
import { pathToFileURL } from 'node:url';

const resolve = createRequire(pathToFileURL(`${process.argv[2]}/`)).resolve;
const { default: Provider } = await import(pathToFileURL(resolve('oidc-provider')));

// What the provider says to people who set it up is nothing to tests.
console.warn = console.info = () => {};

const server = http.createServer();
await new Promise((listening) => server.listen(0, '127.0.0.1', listening));
const issuer = `http://127.0.0.1:${server.address().port}`;

const common = {
  application_type: 'native',
  redirect_uris: ['http://127.0.0.1/callback'],
  grant_types: ['authorization_code', 'urn:ietf:params:oauth:grant-type:device_code'],
  response_types: ['code'],
};

const provider = new Provider(issuer, {
  clients: [
    { client_id: 'mayfly', token_endpoint_auth_method: 'none', ...common },
    { client_id: 'mayfly:sealed', client_secret: 'a secret, of Mayfly', token_endpoint_auth_method: 'client_secret_basic', ...common },
  ],
  clientDefaults: { id_token_signed_response_alg: 'RS256' },
  acrValues: ['gold'],
  claims: { openid: ['sub', 'acr', 'amr', 'auth_time'], email: ['email', 'email_verified'], profile: ['groups'] },
  // The ID token says nothing of mail and groups unless told to: userinfo does.
  conformIdTokenClaims: process.argv[3] === 'thin',
  cookies: { keys: ['for tests alone'] },
  features: {
    devInteractions: { enabled: false },
    deviceFlow: {
      enabled: true,
      userCodeInputSource(ctx, form) { ctx.body = `<html><body>${form}</body></html>`; },
      userCodeConfirmSource(ctx, form) { ctx.body = `<html><body>${form}</body></html>`; },
      successSource(ctx) { ctx.body = 'done'; },
    },
  },
  interactions: { url: (ctx, interaction) => `/interaction/${interaction.uid}` },
  findAccount: (ctx, id) => ({
    accountId: id,
    claims: () => ({ sub: id, email: `${id}@example.com`, email_verified: true, groups: ['staff'] }),
  }),
  // Consent to everything, for a client of the house.
  async loadExistingGrant(ctx) {
    const grant = new ctx.oidc.provider.Grant({ clientId: ctx.oidc.client.clientId, accountId: ctx.oidc.session.accountId });
    grant.addOIDCScope('openid email profile');
    await grant.save();
    return grant;
  },
  ttl: { Session: 3600, Interaction: 3600, Grant: 3600, IdToken: 600, AccessToken: 600, DeviceCode: 600, AuthorizationCode: 60 },
});
provider.on('server_error', (ctx, error) => process.stderr.write(`${error.stack}\n`));

const body = async (request) => {
  let text = '';
  for await (const part of request) text += part;
  return new URLSearchParams(text);
};

const interact = async (request, response) => {
  // Programs on people's machines are agreed to anew each time.
  const { prompt } = await provider.interactionDetails(request, response);
  if (prompt.name === 'consent') {
    await provider.interactionFinished(request, response, { consent: {} }, { mergeWithLastSubmission: true });
    return;
  }
  if (request.method === 'GET') {
    response.setHeader('content-type', 'text/html');
    response.end(`<html><body><form method="post" action="${request.url}"><input name="login"><button name="deny" value="yes">no</button></form></body></html>`);
    return;
  }
  const form = await body(request);
  if (form.get('deny')) {
    await provider.interactionFinished(request, response, { error: 'access_denied', error_description: 'the person said no' });
    return;
  }
  const [accountId, factor] = form.get('login').split('+');
  const second = factor === 'mfa';
  const login = { accountId, amr: second ? ['pwd', 'mfa'] : ['pwd'], acr: second ? 'gold' : undefined, remember: true };
  await provider.interactionFinished(request, response, { login }, { mergeWithLastSubmission: false });
};

const answer = provider.callback();
server.on('request', (request, response) => {
  if (!request.url.startsWith('/interaction/')) return answer(request, response);
  return interact(request, response).catch((error) => {
    process.stderr.write(`${error.stack}\n`);
    response.writeHead(500).end();
  });
});

process.stdin.resume();
process.stdin.on('end', () => process.exit(0));
process.stdout.write(`${issuer}\n`);
