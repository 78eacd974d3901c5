from tests.noise.hook import spread

spread()  # before a test imports anything of ours
