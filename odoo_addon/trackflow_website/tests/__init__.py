from . import test_story, test_tracker, test_website
