// Bolt for JavaScript, as docs.slack.dev/tools/bolt-js shows it.
const { App } = require("@slack/bolt");

const { SLACK_BOT_TOKEN, SLACK_SIGNING_SECRET, SLACK_API_URL, TOGETHER_API_KEY, TOGETHER_BASE_URL, PORT } = process.env;
const app = new App({
  token: SLACK_BOT_TOKEN,
  signingSecret: SLACK_SIGNING_SECRET,
  clientOptions: { slackApiUrl: SLACK_API_URL },
});

app.command("/cancel-remediation", async ({ command, ack, client }) => {
  await ack();
  const [cluster, instance, id] = command.text.split(" ");
  const path = `/compute/clusters/${cluster}/instances/${instance}/remediations/${id}/cancel`;
  const response = await fetch(TOGETHER_BASE_URL + path, {
    method: "POST",
    headers: { Authorization: `Bearer ${TOGETHER_API_KEY}` },
  });
  const remediation = await response.json();
  if (!response.ok || remediation.state !== "CANCELLED") throw new Error(`not cancelled: ${response.status}`);
  const title = `Cancelled: ${remediation.mode} for ${remediation.instance_name}`;
  await client.chat.postMessage({
    channel: command.channel_id,
    text: `${title} by <@${command.user_id}>`,
    blocks: [
      { type: "header", text: { type: "plain_text", text: title } },
      { type: "section", text: { type: "mrkdwn", text: `Cancelled in Slack by <@${command.user_id}>` } },
      { type: "context", elements: [{ type: "mrkdwn", text: `${cluster} ${instance} ${remediation.id}` }] },
    ],
  });
});

app.start(Number(PORT));
