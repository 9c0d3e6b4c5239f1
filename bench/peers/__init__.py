"""Other frameworks, each as its documentation shows it, doing the bot's main job."""
