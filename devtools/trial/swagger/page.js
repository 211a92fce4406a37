// Swagger UI with the API's document, signed in with the server's token.

const SCHEME = "jwt";
// A token is valid for an hour.
const REFRESH_MS = 30 * 60 * 1000;

const config = async () => (await fetch("config.json")).json();

const { openapi } = await config();
const ui = SwaggerUIBundle({
  url: openapi,
  dom_id: "#swagger-ui",
  deepLinking: true,
  tryItOutEnabled: true,
  displayRequestDuration: true,
  validatorUrl: null,
  onComplete: authorize,
});

async function authorize() {
  const { token } = await config();
  if (token) ui.preauthorizeApiKey(SCHEME, token);
}
setInterval(authorize, REFRESH_MS);
