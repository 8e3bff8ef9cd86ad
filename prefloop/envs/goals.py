"""What is usually wanted in an environment, in a sentence for who compares clips of it."""

import re

from prefloop.env_ids import without_module

GOALS = {
    "CartPole": "Keep the pole upright, without leaving the track.",
    "Acrobot": "Swing the lower end up above the line, as quickly as possible.",
    "MountainCar": "Reach the flag on the hill.",
    "MountainCarContinuous": "Reach the flag on the hill, with as little effort as possible.",
    "Pendulum": "Swing the pendulum up and keep it there, at rest.",
    "LunarLander": "Land gently between the flags.",
    "BipedalWalker": "Walk forward without falling.",
    "Ant": "Walk forward, to the right, as fast as possible.",
    "HalfCheetah": "Run forward, to the right, as fast as possible.",
    "Hopper": "Hop forward, to the right, without falling.",
    "Humanoid": "Walk forward without falling.",
    "HumanoidStandup": "Stand up from the floor.",
    "InvertedDoublePendulum": "Keep both poles upright.",
    "InvertedPendulum": "Keep the pole upright.",
    "Pusher": "Push the cylinder to the goal.",
    "Reacher": "Bring the end of the arm to the red ball, and keep it there.",
    "Swimmer": "Swim forward, to the right, as fast as possible.",
    "Walker2d": "Walk forward, to the right, without falling.",
    "dm_control/ball_in_cup-catch": "Catch the ball in the cup.",
    "dm_control/cartpole-balance": "Keep the pole upright, in the middle.",
    "dm_control/cartpole-swingup": "Swing the pole up and keep it there, in the middle.",
    "dm_control/cheetah-run": "Run forward, to the right, as fast as possible.",
    "dm_control/finger-spin": "Spin the body as fast as possible.",
    "dm_control/hopper-hop": "Hop forward, to the right.",
    "dm_control/hopper-stand": "Stand upright, and stay so.",
    "dm_control/quadruped-run": "Run forward.",
    "dm_control/quadruped-walk": "Walk forward.",
    "dm_control/reacher-easy": "Bring the end of the arm to the red ball, and keep it there.",
    "dm_control/walker-run": "Run forward, to the right, upright.",
    "dm_control/walker-stand": "Stand upright, and stay so.",
    "dm_control/walker-walk": "Walk forward, to the right, upright.",
    "prefloop/Dot": "Keep the dot on the middle of the square.",
    "ALE/Asterix": "Catch the objects, and keep away from the lyres.",
    "ALE/Boxing": "Hit the other boxer, and don't be hit (you are the white one).",
    "ALE/Breakout": "Keep the ball in play and break bricks.",
    "ALE/DonkeyKong": "Climb up to the top, and jump over the barrels.",
    "ALE/Freeway": "Bring the chicken across the road, again and again, as quickly as possible.",
    "ALE/MsPacman": "Eat the dots, and keep away from the ghosts.",
    "ALE/Pong": "Win points: the green paddle, on the right, is yours.",
    "ALE/Qbert": "Jump on the cubes to change their colour, and keep away from the others.",
    "ALE/Seaquest": "Shoot sharks, rescue divers, and come up for air in time.",
    "ALE/SpaceInvaders": "Shoot the invaders, and don't be hit.",
}


def usual_goal(env_id: str) -> str:
    """The usual goal in an environment of any version, as a sentence; empty where none is known."""
    return GOALS.get(re.sub(r"-v[0-9]+$", "", without_module(env_id)), "")
