from . import test_story, test_website
